"""From rounds to a decision: when to look, when to stop, what must be seen twice. Nothing here knows of processes.

A stage takes rounds and looks at all of them again each time that their number has grown by half, until every rule is
clear or the time is up. As many looks as there can be share the probability of an error evenly (Bonferroni), so that
looking often does not make a false alarm more likely. What a first stage finds over its limit, a second one must find
again, in samples of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bench.gate.rules import examine, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.gate.rules import Finding, Place, Round, Rule

FIRST_LOOK = 15
"""Rounds before the first look: with fewer, the exact test could not reject anything at the level of one look."""

GROWTH = 1.5
"""By how much the rounds grow from look to look."""

FIRST_STAGE = 0.6
"""Share of the time that the first stage may take. The second has fewer rules to decide."""

Outcome = Literal["regression", "ok", "not reproduced", "inconclusive"]


@dataclass(frozen=True)
class Settings:
    """How a gate decides.

    Attributes:
        confidence: of a stage: two-sided, for all rules and looks together.
        resolution: how far above its limit (as a ratio less one) the interval of an unclear rule may reach for a pass.
        budget_s: seconds for all rounds.
        max_rounds: of a stage.
    """

    confidence: float
    resolution: float
    budget_s: float
    max_rounds: int

    @property
    def looks(self) -> list[int]:
        """After how many rounds the samples are looked at."""
        looks, following = [], float(FIRST_LOOK)
        while round(following) < self.max_rounds:
            looks.append(round(following))
            following *= GROWTH
        return [*looks, self.max_rounds]

    @property
    def alpha(self) -> float:
        """One-sided probability of an error at one look, for all rules together."""
        return (1.0 - self.confidence) / 2 / len(self.looks)


class Source(Protocol):
    """Takes samples."""

    def take(self, blocks: Sequence[tuple[Place, ...]], stage: int) -> Round:
        """Measure every place once and return what was measured."""


@dataclass(frozen=True)
class Stage:
    """What one stage did.

    Attributes:
        rounds: how many it took.
        seconds: how long that was.
        findings: one for each of its rules, each from the look at which it became clear, or from the last one.
    """

    rounds: int
    seconds: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Decision:
    """What became of a rule.

    Attributes:
        rule: the rule.
        outcome: ``regression``: over its limit in both stages; ``not reproduced``: only in the first;
            ``inconclusive``: the control fired, or the interval is too wide to tell; otherwise ``ok``.
        findings: of the first stage and, if there was one for this rule, of the second.
        why: one sentence for a reader.
    """

    rule: Rule
    outcome: Outcome
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


def decide(rules: Sequence[Rule], source: Source, settings: Settings, clock: Callable[[], float]) -> Course:
    """Take rounds until every rule is decided, or the time is up.

    Args:
        rules: one at least.
        source: takes the samples.
        settings: how to decide.
        clock: seconds; the budget begins now.
    """
    begun = clock()
    first = _run_stage(rules, source, settings, clock, 1, begun + settings.budget_s * FIRST_STAGE)
    suspects = [finding.rule for finding in first.findings if finding.state == "over"]
    if not suspects:
        return Course((first,), tuple(_decision((finding,), settings) for finding in first.findings))
    second = _run_stage(suspects, source, settings, clock, 2, begun + settings.budget_s)
    again = {finding.rule: finding for finding in second.findings}
    decisions = []
    for finding in first.findings:
        findings = (finding, again[finding.rule]) if finding.rule in again else (finding,)
        decisions.append(_decision(findings, settings))
    return Course((first, second), tuple(decisions))


def _run_stage(
    rules: Sequence[Rule],
    source: Source,
    settings: Settings,
    clock: Callable[[], float],
    number: int,
    deadline: float,
) -> Stage:
    blocks, looks, begun = places_of(rules), settings.looks, clock()
    rounds: list[Round] = []
    clear: dict[Rule, Finding] = {}
    while True:
        rounds.append(source.take(blocks, number))
        elapsed = clock() - begun
        is_last = len(rounds) == looks[-1] or begun + elapsed + elapsed / len(rounds) > deadline
        if not is_last and len(rounds) not in looks:
            continue
        findings = examine(rules, rounds, settings.alpha)
        for finding in findings:
            if finding.state != "unclear":
                clear.setdefault(finding.rule, finding)
        if is_last or len(clear) == len(rules):
            # What was clear once stays so: more samples of an error are no correction that was paid for.
            return Stage(len(rounds), elapsed, tuple(clear.get(finding.rule, finding) for finding in findings))


def _decision(findings: tuple[Finding, ...], settings: Settings) -> Decision:
    last = findings[-1]
    outcome: Outcome
    if any(finding.control_fires for finding in findings):
        outcome, why = "inconclusive", "the control, the base revision against itself, differs as well"
    elif last.state == "over":
        outcome, why = "regression", "over its limit in both stages"
    elif last.state == "unclear" and last.shift.high > last.limit * (1.0 + settings.resolution):
        outcome, why = "inconclusive", "too few samples, or too noisy ones, to tell"
    elif len(findings) > 1:
        outcome, why = "not reproduced", "over its limit in the first stage, not in new samples"
    elif last.state == "unclear":
        outcome, why = "ok", "not over its limit, though it may be close to it"
    else:
        outcome, why = "ok", "within its limit"
    return Decision(last.rule, outcome, findings, why)
