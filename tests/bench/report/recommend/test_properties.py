"""What is recommended: rules that hold for any records."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.plan.cell import MEANINGS
from bench.report.choice.candidates import choices
from bench.report.choice.reasons import sentence
from bench.report.choice.recommend import recommend
from bench.report.choice.uses import USES
from bench.report.document import Prose
from bench.report.sections.recommendation import render
from bench.report.shipped import to_shipped
from tests.bench.report.recommend.samples import context_of, found, sample, to_choose_from

# Tens, so that medians are alike or more than 2 apart, whatever they are multiplied by.
figure = st.integers(1, 1000).map(lambda value: value * 10.0)


some = st.fixed_dictionaries(
    {"total": figure.map(lambda value: value + 20_000), "wait": figure, "init": figure, "peak": figure}
)


measured = st.dictionaries(
    st.sampled_from([*to_choose_from, *MEANINGS]), st.lists(some, min_size=1, max_size=8), min_size=1, max_size=4
)


slow_to_make = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)


def records_of(cells, factor=1.0):
    return [
        sample(name, number, **{key: value * factor for key, value in values.items()})
        for name, samples in cells.items()
        for number, values in enumerate(samples, 1)
    ]


class TestProperties:
    @slow_to_make
    @given(measured)
    def test_each_step_is_among_those_that_beat_the_one_before(self, cells):
        (choice,) = choices(context_of(records_of(cells)))
        for each in recommend(choice):
            for before, after in pairwise(each.steps):
                assert (after.holder, *(rival.name for rival in after.rivals)) == before.names("better")
            if each.winner:
                assert each.steps[-1].holder == each.winner.name
                assert not each.steps[-1].names("better")
                everybody = {each.steps[0].holder, *(rival.name for rival in each.steps[0].rivals)}
                inexact = {name for name, _ in each.inexact}
                assert everybody | set(each.unmeasured) | inexact == {one.name for one in choice.candidates}
            assert sentence(each).endswith(".")

    @slow_to_make
    @given(measured, st.randoms())
    def test_the_order_of_records_does_not_matter(self, cells, random):
        records = records_of(cells)
        shuffled = list(records)
        random.shuffle(shuffled)
        assert to_shipped(context_of(shuffled)) == to_shipped(context_of(records))

    @slow_to_make
    @given(measured, st.sampled_from([2.0, 8.0, 64.0]))
    def test_the_scale_does_not_matter_above_what_is_noticed(self, cells, factor):
        for one, other in zip(
            found(context_of(records_of(cells))).values(),
            found(context_of(records_of(cells, factor))).values(),
            strict=True,
        ):
            assert [(step.holder, step.names("better", "ahead")) for step in one.steps] == [
                (step.holder, step.names("better", "ahead")) for step in other.steps
            ]

    @slow_to_make
    @given(measured, st.sampled_from(to_choose_from))
    def test_who_takes_half_of_everything_in_enough_rounds_is_named(self, cells, best):
        half = {
            key: 0.5 * min(each[key] for samples in cells.values() for each in samples)
            for key in ("total", "wait", "init", "peak")
        }
        many = {name: (samples * 12)[:12] for name, samples in cells.items()}
        context = context_of(records_of({**many, best: [half] * 12}))
        for key in ("command_line_tool", "service", "small_machine"):
            assert found(context)[key].winner.name == best

    @slow_to_make
    @given(measured)
    def test_the_section_has_a_row_for_each_use(self, cells):
        blocks = render(context_of(records_of(cells))).blocks
        if len(cells.keys() - MEANINGS.keys()) > 1:
            assert [row[0] for row in blocks[0].rows] == [use.title for use in USES]
            assert all(len(row) == len(blocks[0].headings) for row in blocks[0].rows)
        else:
            assert isinstance(blocks[0], Prose)
