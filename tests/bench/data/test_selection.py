"""Which samples count."""

from hypothesis import given
from hypothesis import strategies as st

from bench.data.metrics import METRICS_BY_KEY
from bench.data.selection import ratios_by_round, select
from bench.plan.cell import BASELINE
from tests.bench.support import fakes

TOTAL = METRICS_BY_KEY["total_ms"]


def test_warm_up_watched_and_failed_samples_do_not_count():
    good = fakes.make_record()
    others = [
        fakes.make_record(is_warmup=True),
        fakes.make_record(instrument="memray"),
        fakes.make_record(status="failed"),
        fakes.make_record(status="unverified"),
    ]
    assert select([*others, good, *others]) == [good]


def test_the_undisturbed_attempt_counts():
    first = fakes.make_record(contamination="busy")
    second = fakes.make_record(attempt=1, total_ms=50)
    assert select([first, second]) == [second]


def test_where_all_were_disturbed_the_last_counts():
    first = fakes.make_record(contamination="busy")
    second = fakes.make_record(attempt=1, contamination="busy again")
    assert select([first, second]) == [second]
    assert select([first]) == [first], "nothing is dropped because of noise"


def test_an_undisturbed_sample_is_not_replaced():
    first = fakes.make_record()
    assert select([first, fakes.make_record(attempt=1)]) == [first]


def test_a_failed_second_attempt_leaves_the_first():
    first = fakes.make_record(contamination="busy")
    assert select([first, fakes.make_record(attempt=1, status="timeout")]) == [first]


def test_rounds_of_different_runs_and_machines_are_different_rounds():
    records = [fakes.make_record(run=run, machine=machine) for run in "ab" for machine in "xy"]
    assert select(records) == records


ATTEMPTS = st.tuples(st.integers(0, 4), st.integers(0, 1), st.sampled_from(["", "busy"]))


@given(st.lists(ATTEMPTS, unique_by=lambda sample: sample[:2]).map(sorted))
def test_one_sample_for_each_round_and_none_is_lost(samples):
    records = [fakes.make_record(number=n, attempt=attempt, contamination=why) for n, attempt, why in samples]
    chosen = select(records)
    assert sorted(record.round for record in chosen) == sorted({record.round for record in records})
    for record in chosen:
        mine = [other for other in records if other.round == record.round]
        assert not record.contamination or all(other.contamination for other in mine[: mine.index(record)])


def test_ratios_pair_by_round_and_run():
    reference, cell = fakes.make_cell(BASELINE), fakes.make_cell("lazy")
    records = [
        fakes.make_record(reference, 1, 200, run="a"),
        fakes.make_record(cell, 1, 100, run="a"),
        fakes.make_record(reference, 1, 400, run="b"),
        fakes.make_record(cell, 1, 100, run="b"),
        fakes.make_record(cell, 2, 100, run="b"),
    ]
    assert ratios_by_round(records, cell, reference, TOTAL) == [0.5, 0.25]
