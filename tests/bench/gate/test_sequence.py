"""Looks, stages and decisions, with made-up samples and a made-up clock."""

import math
from functools import cache

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.metrics import METRICS_BY_KEY
from bench.gate.decide import sequence
from bench.gate.decide.rules import ARMS, BASE, HEAD, SAME, Place, at_most, no_slower
from bench.gate.decide.sequence import FIRST_LOOK, FIRST_STAGE, DecisionSettings, decide
from tests.bench.support import fakes

TOTAL = METRICS_BY_KEY["total_ms"]
CELLS = [fakes.make_cell(name) for name in ("lazy", "background", "progressive")]
LAZY, BACKGROUND, PROGRESSIVE = CELLS
RULES = [no_slower(cell, TOTAL, 0.03, 0.0) for cell in CELLS]
NEGLIGIBLE = 1e-6
"""Probability that a simulation of a right implementation fails, had its seed been another one."""


def make_settings(**changes):
    fields = {"confidence": 0.95, "resolution": 0.1, "budget_s": 1000.0, "max_rounds": 60}
    return DecisionSettings(**{**fields, **changes})


def steady(spread=0.01):
    """Noise of a quiet machine."""
    return lambda rng: math.exp(rng.normal(0, spread))


def heavy(rng):
    """Noise of a shared machine: it never makes faster, and sometimes much slower."""
    return 1 + 0.05 * abs(rng.standard_t(2))


class Made:
    """A source that takes one second for a round, and the clock that shows it."""

    def __init__(self, factor=lambda place, stage: 1.0, noise=None, seconds=1.0, seed=1):
        self.factor, self.noise, self.seconds = factor, noise or steady(), seconds
        self.rng = np.random.default_rng(seed)
        self.now = 5000.0
        self.taken = {1: [], 2: []}

    def take(self, blocks, stage):
        places = [place for block in blocks for place in block]
        assert len(set(places)) == len(places)
        self.taken[stage].append(places)
        self.now += self.seconds
        return {place: {TOTAL.key: 100.0 * self.factor(place, stage) * self.noise(self.rng)} for place in places}

    def clock(self):
        return self.now

    @property
    def counts(self):
        return [len(rounds) for rounds in self.taken.values()]


def slower(factor, cells=(LAZY,), stages=(1, 2), arm=HEAD):
    """A factor for the head arm of these cells in these stages."""
    return lambda place, stage: factor if place.arm == arm and place.cell in cells and stage in stages else 1.0


def run(source, rules=(RULES[0],), **changes):
    return decide(rules, source, make_settings(**changes), source.clock)


def only(course):
    (decision,) = course.decisions
    return decision


@pytest.fixture
def looks(monkeypatch):
    """How many rounds each look saw, and at which level; looking itself is left as it is."""
    seen = []

    def watched(rules, rounds, alpha):
        seen.append((len(rounds), alpha))
        return examine(rules, rounds, alpha)

    examine = sequence.examine
    monkeypatch.setattr(sequence, "examine", watched)
    return seen


class TestSettings:
    def test_looks_grow_by_half_and_end_at_the_last_round(self):
        assert make_settings(max_rounds=100).looks == [15, 22, 34, 51, 76, 100]
        assert make_settings(max_rounds=15).looks == [15]
        assert make_settings(max_rounds=4).looks == [4]

    @given(st.integers(1, 2000))
    def test_looks_are_increasing_and_never_beyond(self, max_rounds):
        looks = make_settings(max_rounds=max_rounds).looks
        assert looks == sorted(set(looks))
        assert looks[-1] == max_rounds

    def test_the_confidence_is_two_sided(self):
        assert make_settings(confidence=0.9).alpha == pytest.approx(0.05)

    def test_the_first_look_can_reject(self):
        chosen = make_settings(max_rounds=1000)
        assert chosen.alpha * FIRST_LOOK / chosen.max_rounds > 2.0**-FIRST_LOOK


class TestLooks:
    def test_they_are_at_the_planned_rounds(self, looks):
        course = run(Made(slower(1.03)))
        assert [rounds for rounds, _ in looks] == make_settings().looks
        assert [stage.rounds for stage in course.stages] == [60]

    def test_they_share_the_probability_of_an_error(self, looks):
        run(Made(slower(1.03)))
        chosen = make_settings()
        for number, (rounds, _) in enumerate(looks, start=1):
            assert sum(alpha for _, alpha in looks[:number]) == pytest.approx(chosen.alpha * rounds / 60)

    def test_the_last_one_has_what_is_left_whenever_it_comes(self, looks):
        run(Made(slower(1.03)), budget_s=50.0)
        assert [rounds for rounds, _ in looks] == [15, 22, 30]
        assert sum(alpha for _, alpha in looks) == pytest.approx(make_settings().alpha)

    def test_what_is_clear_ends_the_stage(self, looks):
        course = run(Made())
        assert [rounds for rounds, _ in looks] == [FIRST_LOOK]
        assert (course.stages[0].rounds, course.stages[0].seconds) == (FIRST_LOOK, float(FIRST_LOOK))

    def test_a_rule_that_was_clear_once_stays_so(self):
        """Its finding is of the look that made it clear, though others took more rounds."""
        course = run(Made(slower(1.03, (BACKGROUND,))), RULES[:2])
        first, second = course.decisions
        assert (first.last.shift.n, second.last.shift.n) == (FIRST_LOOK, 60)

    def test_never_more_rounds_than_allowed(self):
        source = Made(slower(1.03))
        run(source, max_rounds=20)
        assert source.counts == [20, 0]

    @pytest.mark.parametrize("seconds", [0.7, 3.0])
    def test_never_beyond_the_first_stages_share_of_the_budget(self, looks, seconds):
        source = Made(slower(1.03), seconds=seconds)
        course = run(source, budget_s=100.0, max_rounds=1000)
        (stage,) = course.stages
        assert stage.seconds == pytest.approx(stage.rounds * seconds)
        assert 100.0 * FIRST_STAGE - seconds < stage.seconds <= 100.0 * FIRST_STAGE
        assert looks[-1][0] == stage.rounds

    @pytest.mark.parametrize("seconds", [3.0, 11.0, 70.0])
    def test_what_is_too_wide_gets_the_rest_of_the_budget(self, looks, seconds):
        course = run(Made(slower(1.03), steady(2.0), seconds=seconds), budget_s=100.0, max_rounds=1000)
        (stage,) = course.stages
        assert 100.0 - seconds < stage.seconds <= 100.0
        assert looks[-1][0] == stage.rounds
        assert only(course).outcome == "inconclusive"

    def test_that_rest_can_make_a_pass(self):
        source = Made(slower(1.03), steady(0.12), seed=2)
        decision = only(run(source, budget_s=60.0))
        assert (decision.outcome, source.counts) == ("ok", [51, 0])  # the first stage's share is 36

    def test_what_that_rest_finds_over_its_limit_is_no_pass(self):
        """It was not seen twice, so it is no regression either."""
        source = Made(slower(1.07))
        source.noise = lambda rng: math.exp(rng.normal(0, 0.1 if source.counts[0] <= 15 else 0.005))
        decision = only(run(source, budget_s=25.0, max_rounds=100))
        assert source.counts == [25, 0]
        assert decision.last.state == "unclear"
        assert decision.last.limit < decision.last.shift.low < decision.last.shift.high < 1.03 * 1.1
        assert (decision.outcome, len(decision.findings)) == ("inconclusive", 1)

    @pytest.mark.parametrize("seconds", [0.7, 2.0])
    def test_never_beyond_the_budget_with_two_stages(self, seconds):
        source = Made(lambda place, stage: (1.5 if stage == 1 else 1.03) if place.arm == HEAD else 1.0, seconds=seconds)
        course = run(source, budget_s=100.0, max_rounds=1000)
        assert len(course.stages) == 2
        total = sum(stage.seconds for stage in course.stages)
        assert 100.0 - seconds < total <= 100.0
        assert source.now == 5000.0 + total


class TestOutcomes:
    def test_no_difference_is_ok_after_one_stage(self):
        source = Made()
        decision = only(run(source))
        assert (decision.outcome, source.counts) == ("ok", [FIRST_LOOK, 0])

    def test_a_regression_needs_both_stages(self):
        source = Made(slower(1.2))
        course = run(source)
        decision = only(course)
        assert decision.outcome == "regression"
        assert [finding.state for finding in decision.findings] == ["over", "over"]
        assert decision.last.shift.ratio == pytest.approx(1.2, rel=0.02)
        assert source.counts == [FIRST_LOOK, FIRST_LOOK]
        assert [len(stage.findings) for stage in course.stages] == [1, 1]

    def test_the_second_stage_has_samples_of_its_own(self):
        decision = only(run(Made(slower(1.2, stages=(1,)))))
        assert decision.outcome == "not reproduced"
        assert decision.last.shift.ratio == pytest.approx(1.0, rel=0.02)
        assert decision.findings[0].shift.ratio == pytest.approx(1.2, rel=0.02)

    def test_close_to_the_limit_is_ok_where_the_interval_is_narrow(self):
        decision = only(run(Made(slower(1.03))))
        assert (decision.outcome, decision.last.state) == ("ok", "unclear")

    def test_an_interval_that_reaches_far_is_inconclusive(self):
        decision = only(run(Made(slower(1.03), steady(0.5))))
        assert (decision.outcome, decision.last.state) == ("inconclusive", "unclear")
        assert decision.last.shift.high > 1.03 * 1.1

    def test_how_far_is_the_resolution(self):
        for resolution, outcome in ((0.1, "inconclusive"), (5.0, "ok")):
            assert only(run(Made(slower(1.03), steady(0.5)), resolution=resolution)).outcome == outcome

    def test_the_resolution_is_a_share_of_the_limit(self):
        decision = only(run(Made(), [at_most(LAZY, TOTAL, 100.0, None)]))
        assert (decision.outcome, decision.last.state) == ("ok", "unclear")
        assert decision.last.shift.high > 100

    def test_a_second_stage_that_is_too_wide_is_inconclusive(self):
        """Not the same as "not reproduced": nothing was seen either way."""
        source = Made(slower(1.5))
        decision = only(run(source, budget_s=10.0, max_rounds=FIRST_LOOK))
        assert source.counts == [6, 4]  # four pairs exclude nothing
        assert [finding.state for finding in decision.findings] == ["over", "unclear"]
        assert decision.outcome == "inconclusive"

    def test_a_budget_too_small_for_a_look_is_inconclusive(self):
        source = Made(slower(1.5), seconds=60.0)
        decision = only(run(source, budget_s=30.0))
        assert (decision.outcome, source.counts) == ("inconclusive", [1, 0])
        assert decision.last.shift.high == math.inf

    @pytest.mark.parametrize("factor", [1.2, 0.8])
    @pytest.mark.parametrize("stage", [1, 2])
    def test_a_control_that_fires_makes_it_inconclusive(self, factor, stage):
        def both(place, number):
            return slower(1.5)(place, number) * slower(factor, stages=(stage,), arm=SAME)(place, number)

        decision = only(run(Made(both)))
        assert decision.outcome == "inconclusive"
        assert "control" in decision.why

    def test_a_control_that_fires_without_a_regression(self):
        assert only(run(Made(slower(1.2, arm=SAME)))).outcome == "inconclusive"

    def test_faster_is_ok(self):
        assert only(run(Made(slower(0.5)))).outcome == "ok"

    def test_a_fixed_limit_is_seen_twice_as_well(self):
        source = Made(slower(2.0))
        rule = at_most(LAZY, TOTAL, 150.0, None)
        assert only(run(source, [rule])).outcome == "regression"
        assert source.counts == [FIRST_LOOK, FIRST_LOOK]
        assert set(source.taken[1][0]) == {Place(HEAD, LAZY)}


class TestSeveralRules:
    def test_only_suspects_are_measured_again(self):
        source = Made(slower(1.3, (BACKGROUND,)))
        course = run(source, RULES)
        assert [decision.rule for decision in course.decisions] == RULES
        assert [decision.outcome for decision in course.decisions] == ["ok", "regression", "ok"]
        assert [len(decision.findings) for decision in course.decisions] == [1, 2, 1]
        assert {place.cell for place in source.taken[1][0]} == set(CELLS)
        for places in source.taken[2]:
            assert set(places) == {Place(arm, BACKGROUND) for arm in ARMS}

    def test_each_ends_in_its_own_way(self):
        def factor(place, stage):
            if place.arm != HEAD:
                return 1.0
            return {LAZY: 1.3, BACKGROUND: 1.3 if stage == 1 else 1.0, PROGRESSIVE: 1.0}[place.cell]

        outcomes = [decision.outcome for decision in run(Made(factor), RULES).decisions]
        assert outcomes == ["regression", "not reproduced", "ok"]

    def test_holm_is_over_the_rules_of_a_stage(self, looks):
        course = run(Made(slower(1.3, (BACKGROUND,))), RULES)
        (_, alpha), (_, again) = looks
        levels = [(1 - decision.findings[0].shift.confidence) / 2 for decision in course.decisions]
        assert levels == pytest.approx([alpha / 2, alpha / 3, alpha / 2])
        assert (1 - course.decisions[1].last.shift.confidence) / 2 == pytest.approx(again)

    def test_what_two_rules_need_is_measured_once(self):
        source = Made()
        run(source, [RULES[0], at_most(LAZY, TOTAL, 500.0, None), at_most(LAZY, TOTAL, 2.0, BACKGROUND)])
        assert len(source.taken[1][0]) == 4


MIXED = [*RULES, at_most(LAZY, TOTAL, 110.0, None), at_most(LAZY, TOTAL, 1.5, BACKGROUND)]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(MIXED), min_size=1, unique=True),
    st.floats(0.5, 2.0),
    st.floats(0.0, 3.0),
    st.integers(1, 40),
    st.floats(0.1, 200.0),
)
def test_it_always_ends_with_one_decision_for_each_rule(seed, rules, factor, spread, max_rounds, budget_s):
    source = Made(slower(factor, CELLS), steady(spread), seed=seed)
    course = run(source, rules, max_rounds=max_rounds, budget_s=budget_s)
    assert [decision.rule for decision in course.decisions] == rules
    assert [stage.rounds for stage in course.stages] == [count for count in source.counts if count]
    assert all(stage.rounds <= max_rounds for stage in course.stages)
    assert source.now <= 5000.0 + max(budget_s, len(course.stages) * source.seconds)
    suspects = [finding for finding in course.stages[0].findings if finding.state == "over"]
    assert (len(course.stages) == 2) == bool(suspects)
    for decision in course.decisions:
        assert len(decision.findings) == 1 + (decision.findings[0] in suspects)
        if decision.outcome == "regression":
            assert [finding.state for finding in decision.findings] == ["over", "over"]
            assert not any(finding.control_fires for finding in decision.findings)


GATES = 1200


@cache
def gates_of_equal_things():
    """Courses of gates with the strictest limit there is: not slower at all."""
    rules = [no_slower(cell, TOTAL, 0.0, 0.0) for cell in CELLS[:2]]
    return [run(Made(noise=heavy, seed=seed), rules, max_rounds=51) for seed in range(GATES)]


def allowed(probability):
    return scipy.stats.binom.isf(NEGLIGIBLE, GATES, probability)


class TestErrorRates:
    def test_a_stage_raises_no_more_false_alarms_than_the_confidence_allows(self):
        assert sum(len(course.stages) == 2 for course in gates_of_equal_things()) <= allowed(0.025)

    def test_a_gate_raises_far_fewer(self):
        outcomes = [{decision.outcome for decision in course.decisions} for course in gates_of_equal_things()]
        assert sum("regression" in found for found in outcomes) <= allowed(0.025**2)

    def test_a_control_fires_no_more_often_than_the_confidence_allows(self):
        firsts = [course.stages[0].findings for course in gates_of_equal_things()]
        assert sum(any(finding.control_fires for finding in findings) for findings in firsts) <= allowed(0.05)

    def test_what_is_much_slower_is_found(self):
        found = [only(run(Made(slower(1.3), heavy, seed=seed), max_rounds=51)).outcome for seed in range(40)]
        assert found.count("regression") >= 36


def test_the_base_arm_alone_decides_nothing():
    """Slower in the base arm is faster in the head: no alarm, and the control tells that something is odd."""
    assert only(run(Made(slower(1.5, arm=BASE)))).outcome == "inconclusive"
