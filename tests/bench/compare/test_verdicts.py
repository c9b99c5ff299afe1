"""Comparing two runs: verdicts, drift, and runs whose rounds were interleaved."""

import math

import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.compare.__main__ import load_comparable
from bench.plan.cell import BASELINE
from bench.stats.comparison import Criteria, compare, rounds_needed_for
from bench.stats.shifts import Shift
from tests.bench.compare.runs import EMPTY_PROGRAM, LAZY, NUMPY, PLAIN, only, write_run
from tests.bench.support import fakes

NEGLIGIBLE = 1e-6
"""Probability that a simulation of a right implementation fails, had its seed been another one."""


class TestVerdicts:
    @pytest.mark.parametrize(
        ("after", "verdict", "code"),
        [(100, "same", 0), (101, "same", 0), (98, "same", 0), (108, "over", 1), (200, "over", 1), (90, "improved", 0)],
    )
    def test_by_reference(self, two, after, verdict, code):
        comparison = two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: after})
        difference = only(comparison)
        assert (difference.verdict, comparison.exit_code) == (verdict, code)
        assert difference.shift.ratio == pytest.approx(after / 100, rel=0.02)
        assert difference.shift.low < after / 100 < difference.shift.high
        assert difference.rounds_needed is None

    def test_medians_are_in_the_unit_of_the_metric(self, two):
        samples = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 200})).samples
        assert samples.base_median == pytest.approx(100, rel=0.02)
        assert samples.head_median == pytest.approx(200, rel=0.02)

    def test_a_floor_raises_the_limit_of_what_is_small(self, two):
        comparison = two({LAZY: 25}, {LAZY: 28}, metrics=("total_ms",), floors={"total_ms": 5.0})
        assert only(comparison).verdict == "same"
        assert only(comparison).limit == pytest.approx(1.2, rel=0.01)

    def test_the_default_floor_is_two_of_a_unit(self, two):
        by_key = {each.metric.key: each for each in two({LAZY: 25}, {LAZY: 25}, metrics=()).differences}
        assert list(by_key) == ["total_ms", "init_ms", "peak_mib"]
        assert by_key["total_ms"].limit == pytest.approx(1 + 2 / 25, rel=0.01)
        assert by_key["peak_mib"].limit == pytest.approx(1 + 2 / 60, rel=0.01)

    def test_the_tolerance_counts_where_it_is_more_than_the_floor(self, two):
        assert only(two({LAZY: 100}, {LAZY: 115}, tolerance=0.2)).limit == pytest.approx(1.2)

    def test_a_wide_interval_is_inconclusive_and_says_how_many_rounds_it_takes(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, {"noise": 0.4}, {"noise": 0.4}))
        assert (difference.verdict, difference.shift.n) == ("inconclusive", 20)
        assert difference.rounds_needed > 20

    @given(st.floats(-0.3, 0.5), st.floats(1e-3, 1), st.floats(1e-3, 1), st.integers(10, 100), st.floats(1.0, 1.5))
    def test_so_many_rounds_decide_if_the_estimate_stays(self, middle, below, above, count, limit):
        shift = Shift(math.exp(middle), math.exp(middle - below), math.exp(middle + above), count, 0.95)
        highest = limit * 1.1
        assume(shift.low < limit and shift.high > highest)
        needed = rounds_needed_for(shift, limit, highest, fewest=10)
        for rounds, decides in ((needed + 1, True), (needed * 0.98 - 2, False)):
            if rounds > count:
                shrunk = math.sqrt(count / rounds)
                low, high = math.exp(middle - below * shrunk), math.exp(middle + above * shrunk)
                assert (low > limit or high < highest) == decides

    def test_too_few_rounds_have_no_interval(self, two):
        comparison = two({LAZY: 100}, {LAZY: 500}, {"rounds": 9})
        difference = only(comparison)
        assert (difference.verdict, difference.rounds_needed, comparison.exit_code) == ("inconclusive", 10, 3)
        assert difference.shift.high == math.inf

    def test_holm_is_over_all_figures(self, two):
        cells = {fakes.make_cell(name): 100 for name in ("lazy", "background", "progressive")}
        comparison = two(cells, {**cells, LAZY: 200})
        levels = {each.cell.strategy: (1 - each.shift.confidence) / 2 for each in comparison.differences}
        assert levels == {
            "lazy": pytest.approx(0.025 / 3),
            "background": pytest.approx(0.025 / 2),
            "progressive": pytest.approx(0.025 / 2),
        }
        assert [each.cell for each in comparison.judged("over")] == [LAZY]

    def test_what_is_equal_is_rarely_called_over(self, tmp_path):
        """Even with no tolerance at all, and the drift of the machine to be cancelled."""
        trials, alarms, improved = 60, 0, 0
        for trial in range(trials):
            folders = [
                write_run(
                    tmp_path / f"{trial}-{name}",
                    {PLAIN: 300, LAZY: 100},
                    seed=2 * trial + number,
                    noise=0.1,
                    rounds=12,
                    drift=lambda _, slower=slower: slower,
                )
                for number, (name, slower) in enumerate({"base": 1.0, "head": 1.05}.items())
            ]
            criteria = Criteria(("total_ms",), tolerance=0.0, floors={"total_ms": 0.0})
            verdict = only(compare(*map(load_comparable, folders), criteria)).verdict
            alarms, improved = alarms + (verdict == "over"), improved + (verdict == "improved")
        allowed = scipy.stats.binom.isf(NEGLIGIBLE, trials, 0.025)
        assert alarms <= allowed
        assert improved <= allowed


class TestDrift:
    """The head run was measured while the machine was slower."""

    def slower(self, factor):
        return {"drift": lambda number: factor}

    def test_a_reference_cancels_it(self, two):
        difference = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 100}, head=self.slower(1.08)))
        assert difference.samples.design == "by reference"
        assert difference.samples.reference == PLAIN
        assert difference.samples.drift.ratio == pytest.approx(1.08, rel=0.01)
        assert difference.verdict == "same"
        assert difference.shift.ratio == pytest.approx(1.0, abs=0.02)

    def test_it_cancels_what_comes_and_goes_too(self, two):
        waves = {"drift": lambda number: 1 + 0.5 * (number % 2)}
        difference = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 110}, waves, waves))
        assert difference.verdict == "over"
        assert difference.shift.high / difference.shift.low < 1.05

    @pytest.mark.parametrize("factor", [1.3, 0.7])
    def test_too_much_of_it_is_inconclusive(self, two, factor):
        comparison = two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 300}, head=self.slower(factor))
        assert (only(comparison).verdict, comparison.exit_code) == ("inconclusive", 3)

    @pytest.mark.parametrize("floor", [NUMPY, EMPTY_PROGRAM])
    def test_a_floor_is_the_reference_where_there_is_no_other(self, two, floor):
        difference = only(two({floor: 90, LAZY: 100}, {floor: 90, LAZY: 100}, head=self.slower(1.08)))
        assert (difference.samples.reference, difference.verdict) == (floor, "same")

    @pytest.mark.parametrize(("base", "head"), [({}, {}), ({EMPTY_PROGRAM: 20}, {}), ({}, {EMPTY_PROGRAM: 20})])
    def test_the_floor_of_older_runs_is_still_one(self, two, base, head):
        difference = only(two({NUMPY: 90, LAZY: 100} | base, {NUMPY: 90, LAZY: 100} | head, head=self.slower(1.08)))
        assert (difference.samples.reference, difference.verdict) == (NUMPY, "same")

    def test_plain_sentence_transformers_comes_first(self, two):
        cells = {NUMPY: 90, PLAIN: 3000, LAZY: 100}
        assert only(two(cells, cells)).samples.reference == PLAIN

    def test_a_reference_of_another_model_is_none(self, two):
        other = fakes.make_cell(BASELINE, model_key="mpnet", model="org/mpnet")
        cells = {other: 3000, LAZY: 100}
        assert only(two(cells, cells)).samples.design == "absolute"

    def test_without_a_reference_it_looks_like_a_change(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, head=self.slower(1.08)))
        assert (difference.samples.design, difference.verdict) == ("absolute", "over")

    def test_memory_does_not_depend_on_it(self, two):
        cells = {PLAIN: 3000, LAZY: 100}
        difference = only(two(cells, cells, head=self.slower(1.3), metrics=("peak_mib",)))
        assert (difference.samples.design, difference.verdict) == ("absolute", "same")
        assert difference.samples.drift is None


class TestInterleavedRuns:
    """The arms of a gate are compared round by round."""

    def arm(self, name, gate="g1", **more):
        return {"gate": gate, "arm": name, "drift": lambda number: 1 + 0.5 * (number % 3), "noise": 0.003, **more}

    def test_they_are_paired(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 106}, self.arm("base"), self.arm("head")))
        assert (difference.samples.design, difference.verdict) == ("by round", "over")
        assert difference.shift.ratio == pytest.approx(1.06, rel=0.01)
        assert difference.shift.high / difference.shift.low < 1.02

    def test_six_rounds_can_be_enough(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 150}, self.arm("base", rounds=6), self.arm("head", rounds=6)))
        assert (difference.verdict, difference.shift.n) == ("over", 6)

    def test_three_are_not(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 150}, self.arm("base", rounds=3), self.arm("head", rounds=3)))
        assert (difference.verdict, difference.rounds_needed) == ("inconclusive", 6)

    def test_a_round_that_only_one_has_is_left_out(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, self.arm("base", rounds=15), self.arm("head", rounds=12)))
        assert difference.shift.n == 12

    @pytest.mark.parametrize("other", [{"gate": "g2"}, {"gate": ""}, {"gate": None}, {"arm": None}])
    def test_others_are_not(self, two, other):
        head = {**self.arm("head"), **other}
        assert only(two({LAZY: 100}, {LAZY: 106}, self.arm("base"), head)).samples.design == "absolute"
