"""Statistics: properties that hold for any samples."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.cell import BASELINE
from bench.stats.summary import Ratio, summarise, to_frame
from tests.bench.support import fakes

TIMES = st.lists(st.floats(1, 1e6), min_size=1, max_size=12)
BASE, LAZY = fakes.make_cell(BASELINE), fakes.make_cell("lazy")


def records_of(cell, times):
    return [fakes.make_record(cell, number, round(time, 6)) for number, time in enumerate(times)]


def summary_of(records, cell):
    """Return the only summary of a cell."""
    (summary,) = [summary for summary in summarise(records) if summary.cell == cell]
    return summary


@given(TIMES, st.randoms())
def test_the_order_of_the_samples_does_not_matter(times, rng):
    records = records_of(LAZY, times)
    shuffled = list(records)
    rng.shuffle(shuffled)
    assert summary_of(records, LAZY).spreads == summary_of(shuffled, LAZY).spreads


@given(TIMES)
def test_a_spread_brackets_its_median(times):
    spread = summary_of(records_of(LAZY, times), LAZY).spreads["total_ms"]
    assert spread.n == len(times)
    assert min(times) - 1e-5 <= spread.median <= max(times) + 1e-5
    assert spread.interval is None or spread.interval.low <= spread.median <= spread.interval.high


@given(TIMES, st.floats(0.1, 10))
def test_a_cell_that_always_takes_k_times_as_long_has_ratio_k(times, factor):
    records = records_of(BASE, times) + records_of(LAZY, [time * factor for time in times])
    assert summary_of(records, LAZY).ratios["total_ms"].median == pytest.approx(factor, rel=1e-4)
    assert summary_of(records, BASE).ratios == {}


def test_ratios_are_formed_within_rounds():
    """A machine that slows down in the middle changes the medians, not the ratio."""
    records = records_of(BASE, [100, 100, 1000, 1000]) + records_of(LAZY, [50, 50, 500, 500])
    assert summary_of(records, LAZY).ratios["total_ms"].median == pytest.approx(0.5)
    missing = [record for record in records if not (record.cell == BASE and record.round == 0)]
    assert summary_of(missing, LAZY).ratios["total_ms"].median == pytest.approx(0.5)


def test_only_counted_samples_count():
    good = fakes.make_record(LAZY, 1, 100.0)
    others = [
        dataclasses.replace(good, is_warmup=True),
        dataclasses.replace(good, status="invalid", message="wrong"),
        dataclasses.replace(good, status="failed", message="first"),
        dataclasses.replace(good, status="failed", message="last"),
    ]
    summary = summary_of([good, *others], LAZY)
    assert summary.spreads["total_ms"].n == 1
    assert summary.problems == {"invalid": (1, "wrong"), "failed": (2, "last")}


def test_a_cell_without_a_counted_sample():
    summary = summary_of([dataclasses.replace(fakes.make_record(LAZY), status="timeout", message="killed")], LAZY)
    assert summary.spreads == {}
    assert summary.median("total_ms") is None
    assert summarise([]) == []


def test_cells_come_in_the_order_of_the_plan():
    records = [fakes.make_record(LAZY), fakes.make_record(BASE)]
    assert [summary.cell for summary in summarise(records)] == [LAZY, BASE]
    ordered = summarise(records, [BASE, LAZY, fakes.make_cell("absent")])
    assert [summary.cell for summary in ordered] == [BASE, LAZY]


def test_machines_are_kept_apart():
    """A slow machine and a fast one: neither figures nor ratios mix, and a cell needs a reference of its own
    machine."""
    records = [
        *(
            dataclasses.replace(record, machine="a")
            for record in records_of(BASE, [100] * 6) + records_of(LAZY, [10] * 6)
        ),
        *(dataclasses.replace(record, machine="b") for record in records_of(LAZY, [1000] * 6)),
    ]
    summaries = {(summary.machine, summary.cell): summary for summary in summarise(records)}
    assert set(summaries) == {("a", BASE), ("a", LAZY), ("b", LAZY)}
    assert summaries["a", LAZY].spreads["total_ms"].median == 10
    assert summaries["a", LAZY].ratios["total_ms"].median == pytest.approx(0.1)
    assert summaries["b", LAZY].median("total_ms") == 1000
    assert summaries["b", LAZY].ratios == {}


def test_a_ratio_has_an_interval_from_six_rounds_on():
    five, six = ([10.0] * count for count in (5, 6))
    assert summary_of(records_of(BASE, five) + records_of(LAZY, five), LAZY).ratios["total_ms"] == Ratio(1.0, None)
    ratio = summary_of(records_of(BASE, six) + records_of(LAZY, six), LAZY).ratios["total_ms"]
    assert (ratio.interval.low, ratio.interval.high) == (1.0, 1.0)


def test_watched_samples_are_no_statistics():
    watched = dataclasses.replace(fakes.make_record(LAZY), instrument="memray")
    assert summarise([watched]) == []


def test_the_frame_has_a_row_for_each_sample_that_counts():
    records = [*records_of(LAZY, [10, 20]), dataclasses.replace(fakes.make_record(LAZY), status="failed", message="no")]
    frame = to_frame(records)
    assert list(frame["round"]) == [0, 1]
    assert list(frame["total_ms"]) == [10.0, 20.0]
    assert frame["ready_ms"].isna().all()
    assert to_frame([]).empty
