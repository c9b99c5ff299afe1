"""From rounds to a decision: when to look, when to stop, what must be seen twice. Nothing here deals with processes.

A stage takes rounds and looks at all of them each time their number has grown by half, until every rule is clear or the
time is up. The looks share the probability of an error, so that looking often does not make a false alarm more likely:
by each look, the share spent equals the share of the maximum rounds taken so far (a linear spending function, Lan and
DeMets, Discrete Sequential Boundaries for Clinical Trials, 1983; its parts are simply added, which is slightly
conservative), and the last look, whenever it comes, gets all that is left. A second stage must confirm, in new samples,
what the first stage finds over its limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from bench.gate.decide.rules import examine, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.gate.decide.rules import Finding, Place, Round, Rule, RuleState

FIRST_LOOK = 15
"""Rounds before the first look: with fewer, the exact test could not reject anything at the level of one look."""

GROWTH = 1.5
"""Factor by which the rounds grow from look to look."""

FIRST_STAGE = 0.6
"""Share of the time that the first stage may take. The second has fewer rules to decide."""

RuleOutcome = Literal["regression", "ok", "not reproduced", "inconclusive"]


@dataclass(frozen=True)
class DecisionSettings:
    """How a gate decides.

    Attributes:
        confidence: a stage's confidence: two-sided, for all rules and looks together.
        resolution: how far above its limit (as a ratio minus one) an unclear rule's interval may reach and still pass.
        budget_s: time for all rounds.
        max_rounds: most rounds of a stage.
    """

    confidence: float
    resolution: float
    budget_s: float
    max_rounds: int

    @property
    def looks(self) -> list[int]:
        """The numbers of rounds after which to look at the samples."""
        looks, following = [], float(FIRST_LOOK)
        while round(following) < self.max_rounds:
            looks.append(round(following))
            following *= GROWTH
        return [*looks, self.max_rounds]

    @property
    def alpha(self) -> float:
        """One-sided probability of an error in a stage, for all rules of one kind together."""
        return (1.0 - self.confidence) / 2


class RoundSource(Protocol):
    """Takes samples."""

    def take(self, blocks: Sequence[tuple[Place, ...]], stage: int) -> Round:
        """Measure every place once and return what was measured."""


@dataclass(frozen=True)
class Stage:
    """What one stage did.

    Attributes:
        rounds: the number of rounds.
        seconds: how long they took.
        findings: one for each of its rules, each from the look at which it became clear, or from the last one.
    """

    rounds: int
    seconds: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Decision:
    """The decision about a rule.

    Attributes:
        rule: the rule.
        outcome: ``regression``: over its limit in both stages; ``not reproduced``: only in the first;
            ``inconclusive``: the control fired, or the interval is too wide to tell; otherwise ``ok``.
        findings: the first stage's and, if there was one for this rule, the second stage's.
        why: one sentence for a reader.
    """

    rule: Rule
    outcome: RuleOutcome
    findings: tuple[Finding, ...]
    why: str

    @property
    def last(self) -> Finding:
        """The finding that decided."""
        return self.findings[-1]


@dataclass(frozen=True)
class Course:
    """How a gate went.

    Attributes:
        stages: one or two.
        decisions: one for each rule, in their order.
    """

    stages: tuple[Stage, ...]
    decisions: tuple[Decision, ...]


def decide(
    rules: Sequence[Rule], source: RoundSource, settings: DecisionSettings, clock: Callable[[], float]
) -> Course:
    """Take rounds until every rule is decided, or the time is up.

    Args:
        rules: at least one.
        source: takes the samples.
        settings: how to decide.
        clock: seconds; the budget begins now.
    """
    begun = clock()
    end = begun + settings.budget_s
    sampling = _Sampling(rules, source, settings, clock, 1)
    sampling.run(begun + settings.budget_s * FIRST_STAGE)
    suspects = sampling.over
    if not suspects:
        # Nothing needs confirmation, so the remaining time can go into intervals that are too wide for a pass.
        sampling.narrow(end)
    first = sampling.stage()
    second = None
    if suspects:
        sampling = _Sampling(suspects, source, settings, clock, 2)
        sampling.run(end)
        second = sampling.stage()
    again = {finding.rule: finding for finding in second.findings} if second else {}
    decisions = [
        _decision((finding, again[finding.rule]) if finding.rule in again else (finding,), settings)
        for finding in first.findings
    ]
    return Course((first, second) if second else (first,), tuple(decisions))


class _Sampling:
    """One stage while it runs."""

    def __init__(
        self,
        rules: Sequence[Rule],
        source: RoundSource,
        settings: DecisionSettings,
        clock: Callable[[], float],
        number: int,
    ) -> None:
        self._rules = rules
        self._blocks = places_of(rules)
        self._source = source
        self._settings = settings
        self._clock = clock
        self._number = number
        self._begun = clock()
        self._rounds: list[Round] = []
        self._findings: dict[Rule, Finding] = {}
        self._spent = 0.0

    @property
    def over(self) -> list[Rule]:
        """The rules that are over their limits."""
        return [rule for rule in self._rules if self._findings[rule].state == "over"]

    def stage(self) -> Stage:
        """Return what was done."""
        findings = tuple(self._findings[rule] for rule in self._rules)
        return Stage(len(self._rounds), self._clock() - self._begun, findings)

    def run(self, deadline: float) -> None:
        """Take rounds until every rule is clear or the time is up; at least one."""
        goes_on = True
        while goes_on:
            self._take_round()
            goes_on = self._has_time(deadline)
            if not goes_on or len(self._rounds) in self._settings.looks:
                self._look(is_last=not goes_on)
                goes_on = goes_on and bool(self._unclear())

    def narrow(self, deadline: float) -> None:
        """Take more rounds while an interval is too wide for a pass; nothing can be found ``over`` any more."""
        goes_on = self._has_time(deadline)
        while goes_on and self._too_wide():
            self._take_round()
            goes_on = self._has_time(deadline)
            if not goes_on or len(self._rounds) in self._settings.looks:
                for finding in examine(self._rules, self._rounds, self._settings.alpha):
                    if self._findings[finding.rule].state == "unclear":
                        state: RuleState = "within" if finding.state == "within" else "unclear"
                        self._findings[finding.rule] = replace(finding, state=state)

    def _take_round(self) -> None:
        self._rounds.append(self._source.take(self._blocks, self._number))

    def _has_time(self, deadline: float) -> bool:
        """Whether another round may be taken, and will end in time if it is like those before."""
        count, now = len(self._rounds), self._clock()
        return count < self._settings.max_rounds and now + (now - self._begun) / count <= deadline

    def _look(self, *, is_last: bool) -> None:
        share = 1.0 if is_last else len(self._rounds) / self._settings.max_rounds
        alpha = self._settings.alpha * share - self._spent
        self._spent += alpha
        for finding in examine(self._rules, self._rounds, alpha):
            earlier = self._findings.get(finding.rule)
            # A rule that was clear stays clear: its share of the error is spent.
            if earlier is None or earlier.state == "unclear":
                self._findings[finding.rule] = finding

    def _unclear(self) -> list[Finding]:
        return [finding for finding in self._findings.values() if finding.state == "unclear"]

    def _too_wide(self) -> bool:
        return any(is_too_wide(finding, self._settings) for finding in self._unclear())


def is_too_wide(finding: Finding, settings: DecisionSettings) -> bool:
    """Whether the interval of an unclear rule reaches so far above the limit that it cannot pass."""
    return finding.shift.high > finding.limit * (1.0 + settings.resolution)


def _decision(findings: tuple[Finding, ...], settings: DecisionSettings) -> Decision:
    last = findings[-1]
    outcome: RuleOutcome
    if any(finding.control_fires for finding in findings):
        outcome, why = "inconclusive", "the control, the base revision against itself, differs too"
    elif last.state == "over":
        outcome, why = "regression", "over its limit in both stages"
    elif last.state == "unclear" and is_too_wide(last, settings):
        outcome, why = "inconclusive", "too few samples, or too much noise, to decide"
    elif last.state == "unclear" and last.shift.low > last.limit:
        outcome, why = "inconclusive", "over its limit at the end, with no time left to confirm it in new samples"
    elif len(findings) > 1:
        outcome, why = "not reproduced", "over its limit in the first stage, but not in new samples"
    elif last.state == "unclear":
        outcome, why = "ok", "not over its limit, though it may be close to it"
    else:
        outcome, why = "ok", "within its limit"
    return Decision(last.rule, outcome, findings, why)
