"""What rounds say about a rule: limits, floors, controls, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.metrics import METRICS_BY_KEY
from bench.errors import BenchError, ConfigError
from bench.gate.config import load_gate, make_rules
from bench.gate.decide.rules import ARMS, BASE, HEAD, SAME, Place, at_most, examine, no_slower, places_of
from bench.plan.cell import EMPTY
from bench.stats.shifts import paired_shift
from tests.bench.support import fakes

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell("baseline")
TOTAL, PEAK = METRICS_BY_KEY["total_ms"], METRICS_BY_KEY["peak_mib"]
ALPHA = 0.025


def make_rounds(count=20, seed=1, cells=(LAZY,), **factors):
    """Rounds around 100 ms in each arm, times the arm's factor, with a little noise."""
    rng = np.random.default_rng(seed)
    return [
        {
            Place(arm, cell): {TOTAL.key: 100.0 * factors.get(arm, 1.0) * math.exp(rng.normal(0, 0.01))}
            for arm in ARMS
            for cell in cells
        }
        for _ in range(count)
    ]


def examine_one(rule, rounds, alpha=ALPHA):
    (finding,) = examine([rule], rounds, alpha)
    return finding


def test_arms_have_names_of_one_length():
    assert len({len(arm) for arm in ARMS}) == 1


class TestAgainstTheBaseRevision:
    @pytest.mark.parametrize(
        ("factor", "state"), [(0.8, "within"), (1.0, "within"), (1.03, "unclear"), (1.06, "over"), (2.0, "over")]
    )
    def test_state(self, factor, state):
        finding = examine_one(no_slower(LAZY, TOTAL, 0.03, 0.0), make_rounds(head=factor))
        assert finding.state == state
        assert finding.shift.ratio == pytest.approx(factor, rel=0.02)
        assert finding.limit == 1.03

    def test_the_interval_is_that_of_the_pairs(self):
        rounds = make_rounds(head=1.1)
        pairs = [
            math.log(measured[Place(HEAD, LAZY)][TOTAL.key] / measured[Place(BASE, LAZY)][TOTAL.key])
            for measured in rounds
        ]
        assert examine_one(no_slower(LAZY, TOTAL, 0.03, 0.0), rounds).shift == paired_shift(pairs, ALPHA)

    def test_medians_are_in_the_unit_of_the_metric(self):
        finding = examine_one(no_slower(LAZY, TOTAL, 0.03, 0.0), make_rounds(head=2.0))
        assert finding.reference_median == pytest.approx(100, rel=0.02)
        assert finding.median == pytest.approx(200, rel=0.02)

    @pytest.mark.parametrize(("floor", "limit"), [(0.0, 1.03), (2.0, 1.03), (10.0, 1.1), (50.0, 1.5)])
    def test_a_floor_can_only_raise_the_limit(self, floor, limit):
        finding = examine_one(no_slower(LAZY, TOTAL, 0.03, floor), make_rounds(head=1.2))
        assert finding.limit == pytest.approx(limit, rel=0.01)
        assert finding.limit >= 1.03
        assert finding.state == ("over" if limit < 1.2 else "within")

    def test_a_slow_control_fires_in_either_direction(self):
        rule = no_slower(LAZY, TOTAL, 0.03, 0.0)
        for factor, fires in ((1.0, False), (1.02, False), (1.1, True), (0.9, True)):
            finding = examine_one(rule, make_rounds(head=1.2, same=factor))
            assert finding.control.ratio == pytest.approx(factor, rel=0.02)
            assert finding.control_fires == fires

    def test_a_floor_holds_for_the_control_too(self):
        finding = examine_one(no_slower(LAZY, TOTAL, 0.03, 30.0), make_rounds(same=1.2))
        assert not finding.control_fires

    def test_too_few_rounds_are_unclear(self):
        finding = examine_one(no_slower(LAZY, TOTAL, 0.03, 0.0), make_rounds(5, head=10.0, same=10.0))
        assert (finding.state, finding.control_fires) == ("unclear", False)


class TestFixedLimits:
    def test_in_the_unit_of_the_metric(self):
        rounds = make_rounds(head=2.0)
        for limit, state in ((150.0, "over"), (200.0, "unclear"), (250.0, "within")):
            finding = examine_one(at_most(LAZY, TOTAL, limit, None), rounds)
            assert finding.state == state
            assert finding.shift.ratio == pytest.approx(200, rel=0.02)
            assert (finding.limit, finding.reference_median, finding.control) == (limit, None, None)
            assert not finding.control_fires

    def test_as_a_multiple_of_another_cell_of_the_same_arm(self):
        rounds = make_rounds(cells=(LAZY, PLAIN), head=3.0)  # both cells, so that their ratio stays 1
        for limit, state in ((0.5, "over"), (1.5, "within")):
            finding = examine_one(at_most(LAZY, TOTAL, limit, PLAIN), rounds)
            assert finding.state == state
            assert finding.reference_median == pytest.approx(300, rel=0.02)
            assert finding.control is None


class TestTimesAnEmptyProgram:
    EMPTY_PROGRAM = fakes.make_cell(EMPTY, subject=EMPTY, engine="")

    def rounds(self, figures, *, empty_ms=10.0, noise=0.02):
        """Rounds of what an empty program takes and what the head does, on a machine whose speed wanders."""
        rng = np.random.default_rng(1)
        speeds = [math.exp(rng.normal(0, 0.3)) for _ in range(40)]

        def noisy(value, speed):
            return value * speed * math.exp(rng.normal(0, noise))

        return [
            {
                Place(HEAD, self.EMPTY_PROGRAM): {"process_ms": noisy(empty_ms, speed), "total_ms": 1e9},
                Place(HEAD, LAZY): {key: noisy(value, speed) for key, value in figures.items()},
            }
            for speed in speeds
        ]

    @pytest.mark.parametrize(("init_ms", "state"), [(4.0, "within"), (6.0, "over")])
    def test_every_time_is_a_multiple_of_its_whole_time(self, init_ms, state):
        rule = at_most(LAZY, METRICS_BY_KEY["init_ms"], 0.5, self.EMPTY_PROGRAM)
        finding = examine_one(rule, self.rounds({"init_ms": init_ms}))
        assert finding.state == state
        assert finding.shift.ratio == pytest.approx(init_ms / 10.0, rel=0.05)
        assert finding.reference_median == pytest.approx(10.0, rel=0.3)

    def test_other_references_are_compared_in_the_same_figure(self):
        assert at_most(LAZY, TOTAL, 1.0, PLAIN).against_metric == TOTAL
        assert no_slower(LAZY, PEAK, 0.03, 0.0).against_metric == PEAK

    @pytest.mark.parametrize("name", ["standard", "thorough"])
    @pytest.mark.parametrize(
        ("figures", "broken"),
        [
            # In times an empty program takes: as it was when the limits were chosen, a third more, and one that imports
            # NumPy on the way to the vector or in the caller's thread.
            ({"total_ms": 30.0, "init_ms": 6.0}, set()),
            ({"total_ms": 38.0, "init_ms": 8.0}, set()),
            ({"total_ms": 90.0, "init_ms": 6.0}, {"total_ms"}),
            ({"total_ms": 90.0, "init_ms": 60.0}, {"total_ms", "init_ms"}),
        ],
    )
    def test_the_default_limits_neither_cry_wolf_nor_sleep(self, name, figures, broken):
        given = [rule for rule in make_rules(load_gate([f"gate={name}"])) if not rule.is_regression]
        assert {rule.against.cell.subject for rule in given} == {EMPTY}
        rules = [at_most(LAZY, rule.metric, rule.limit, self.EMPTY_PROGRAM) for rule in given]
        found = {finding.rule.metric.key: finding.state for finding in examine(rules, self.rounds(figures), ALPHA)}
        assert found == {key: "over" if key in broken else "within" for key in ("total_ms", "init_ms")}

    def test_its_memory_is_not_known(self):
        ceiling = "ceilings=[{cell:'strategy=lazy model=minilm',metric:peak_mib,at_most:2,times:empty_python}]"
        with pytest.raises(ConfigError, match=r"peak_mib cannot be a multiple of empty_python.*times=baseline"):
            load_gate([ceiling])

    def test_limits_of_older_configurations_mean_what_they_meant(self):
        ceiling = "ceilings=[{cell:'strategy=lazy model=minilm',metric:init_ms,at_most:0.2,times:import_numpy}]"
        rule = next(rule for rule in make_rules(load_gate([ceiling])) if not rule.is_regression)
        assert (rule.against.cell.subject, rule.against_metric.key, rule.limit) == ("import_numpy", "init_ms", 0.2)


class TestSeveralRules:
    def test_holm_divides_alpha(self):
        names = ("lazy", "background", "progressive")
        cells = [fakes.make_cell(name) for name in names]
        rules = [no_slower(cell, TOTAL, 0.03, 0.0) for cell in cells]
        rounds = make_rounds(cells=cells)
        for measured in rounds:
            measured[Place(HEAD, cells[1])][TOTAL.key] *= 2
        findings = examine(rules, rounds, ALPHA)
        assert [finding.rule for finding in findings] == rules
        assert [finding.state for finding in findings] == ["within", "over", "within"]
        expected = [1 - 2 * level for level in (ALPHA / 2, ALPHA / 3, ALPHA / 2)]
        assert [finding.shift.confidence for finding in findings] == pytest.approx(expected)
        assert [finding.control.confidence for finding in findings] == pytest.approx(expected)

    def test_a_weak_finding_does_not_survive_many_others(self):
        """Six pairs of six exclude no shift at a third of the level at which they just do it alone."""
        cells = [fakes.make_cell(name) for name in ("lazy", "background", "progressive")]
        rounds = make_rounds(6, cells=cells)
        for measured in rounds:
            measured[Place(HEAD, LAZY)][TOTAL.key] *= 1.5
        rules = [no_slower(cell, TOTAL, 0.03, 0.0) for cell in cells]
        assert examine(rules[:1], rounds, ALPHA)[0].state == "over"
        assert examine(rules, rounds, ALPHA)[0].state == "unclear"

    def test_limits_of_their_own_are_another_question(self):
        rounds = make_rounds(6, head=1.5)
        rule = no_slower(LAZY, TOTAL, 0.03, 0.0)
        limits = [at_most(LAZY, TOTAL, limit, None) for limit in (1000.0, 2000.0)]
        findings = examine([limits[0], rule, limits[1]], rounds, ALPHA)
        assert findings[1] == examine_one(rule, rounds)
        assert [findings[0], findings[2]] == examine(limits, rounds, ALPHA)
        assert findings[0].shift.confidence == pytest.approx(1 - 2 * ALPHA / 2)

    @given(st.integers(0, 2**32), st.integers(1, 25), st.permutations(range(4)))
    def test_the_order_of_the_rules_does_not_matter(self, seed, count, order):
        cells = [fakes.make_cell(name) for name in ("lazy", "background", "progressive")]
        rules = [no_slower(cell, TOTAL, 0.03, 0.0) for cell in cells] + [at_most(cells[0], TOTAL, 101.0, None)]
        rounds = make_rounds(count, seed, cells, head=1.02)
        findings = examine(rules, rounds, ALPHA)
        assert examine([rules[index] for index in order], rounds, ALPHA) == [findings[index] for index in order]


class TestWhatIsRefused:
    @pytest.mark.parametrize("value", [None, 0.0, -1.0, math.inf, math.nan])
    @pytest.mark.parametrize("arm", ARMS)
    def test_a_round_without_a_positive_value(self, value, arm):
        rounds = make_rounds(3)
        rounds[1][Place(arm, LAZY)] = {} if value is None else {TOTAL.key: value}
        with pytest.raises(
            BenchError, match=rf"{LAZY.label()} has no total_ms above 0 in the arm {arm}.*Gate another metric"
        ):
            examine([no_slower(LAZY, TOTAL, 0.03, 2.0)], rounds, ALPHA)

    def test_a_metric_that_nobody_has(self):
        with pytest.raises(BenchError, match="peak_mib"):
            examine([at_most(LAZY, PEAK, 100.0, None)], make_rounds(3), ALPHA)


class TestPlaces:
    def test_a_regression_needs_all_arms(self):
        rule = no_slower(LAZY, TOTAL, 0.03, 0.0)
        assert rule.is_regression
        assert rule.control == Place(SAME, LAZY)
        assert rule.places == (Place(BASE, LAZY), Place(SAME, LAZY), Place(HEAD, LAZY))

    def test_a_limit_needs_only_what_is_judged(self):
        assert at_most(LAZY, TOTAL, 1.0, None).places == (Place(HEAD, LAZY),)
        rule = at_most(LAZY, TOTAL, 1.0, PLAIN)
        assert (rule.is_regression, rule.places) == (False, (Place(HEAD, PLAIN), Place(HEAD, LAZY)))

    def test_each_place_is_measured_once_beside_what_it_is_compared_with(self):
        rules = [
            no_slower(LAZY, TOTAL, 0.03, 0.0),
            no_slower(LAZY, PEAK, 0.03, 0.0),
            at_most(LAZY, TOTAL, 0.5, PLAIN),
            at_most(PLAIN, TOTAL, 500.0, None),
        ]
        assert places_of(rules) == [(Place(BASE, LAZY), Place(SAME, LAZY), Place(HEAD, LAZY), Place(HEAD, PLAIN))]

    def test_nothing_needs_nothing(self):
        assert places_of([]) == []
