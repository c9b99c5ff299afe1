"""Which strategy suits which use. Pure functions over records.

Each use has a default and one figure that can overrule it. The default is named unless another strategy is better by
more than ``MARGIN`` and a floor in ms or MiB, and the whole interval of their ratio says so: the noise of ten rounds
must not change the advice. All intervals that can replace a default hold together with ``CONFIDENCE`` (Bonferroni),
however many strategies stand beside it. Otherwise a strategy is described by an interval of its own, at the usual
``OWN_CONFIDENCE``: a joint interval of ten rounds is so wide that one odd round hides a strategy that is many times
slower.
``docs/decisions/0012-reports.md`` has the reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.data.fidelity import MIN_COSINE
from bench.data.metrics import FLOORS, METRICS_BY_KEY
from bench.report.choice.uses import USES
from bench.stats.intervals import Interval
from bench.stats.shifts import fewest_pairs, paired_shift

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from bench.data.metrics import Metric
    from bench.plan.cell import Cell
    from bench.report.choice.candidates import Candidate, Choice
    from bench.report.choice.uses import Criterion, Use
    from bench.stats.shifts import Shift

MARGIN = 1.10
"""How many times as much the default has to take before another strategy is named: 10 % more."""

CONFIDENCE = 0.99
"""Two-sided, of all intervals of a use together: what it takes to replace the default."""

OWN_CONFIDENCE = 0.95
"""Two-sided, of one strategy's interval: what it takes to call it better or worse."""

OWN_ALPHA = (1.0 - OWN_CONFIDENCE) / 2
"""Of each end of that interval."""

ALIKE = 1.03
"""Ratio up to which two strategies are alike: nobody notices 3 %, the tolerance of comparisons and gates as well."""

EXACT = MIN_COSINE["float32"]
"""Lowest cosine with the original's vectors at which vectors count as equal."""

RivalVerdict = Literal["better", "ahead", "tied", "worse", "unknown"]
"""Of a strategy beside the one it is compared with: better by more than the margin, so that it replaces that one;
better, but perhaps by less; no difference that noise could not make; worse; or too few common rounds to tell."""


@dataclass(frozen=True)
class Rival:
    """A strategy beside the one that it has to beat.

    Attributes:
        name: of the candidate.
        value: its median.
        verdict: what its interval says, or the joint one if that makes it better.
        ratio: its figure to the other's, by round: see ``bench.stats.shifts.paired_shift``; None without a common
            round.
        interval: of that ratio, with ``OWN_CONFIDENCE``; None with too few rounds.
        n: common rounds.
    """

    name: str
    value: float
    verdict: RivalVerdict
    ratio: float | None = None
    interval: Interval | None = None
    n: int = 0


@dataclass(frozen=True)
class Step:
    """A strategy, and those that it was compared with.

    Attributes:
        holder: the one to beat: the default at first, then the first of those that beat it.
        value: its median.
        rivals: in the order of the use.
    """

    holder: str
    value: float
    rivals: tuple[Rival, ...]

    def names(self, *verdicts: RivalVerdict) -> tuple[str, ...]:
        """Return the names of rivals with these verdicts."""
        return tuple(rival.name for rival in self.rivals if rival.verdict in verdicts)


@dataclass(frozen=True)
class Recommendation:
    """What suits a use.

    Attributes:
        use: the use.
        winner: the candidate that is named, None if there is none.
        criterion: the figure that decides, None if no strategy has one.
        scenario: label of the scenario that it is from.
        steps: the default and its rivals, then the same among those that beat it; the last holder is the winner.
        inexact: candidates whose vectors do not equal the original's, if this use needs that, with their cosines.
        unmeasured: names of candidates without the figure.
        rounds_needed: how many common rounds it takes to replace the default.
        problem: why there is no winner, or "".
        candidates: who was to choose from.
    """

    use: Use
    winner: Candidate | None
    criterion: Criterion | None = None
    scenario: str = ""
    steps: tuple[Step, ...] = ()
    inexact: tuple[tuple[str, float | None], ...] = ()
    unmeasured: tuple[str, ...] = ()
    rounds_needed: int = 0
    problem: str = ""
    candidates: tuple[Candidate, ...] = ()

    @property
    def equals(self) -> tuple[str, ...]:
        """Names of the others that the records cannot tell from the winner."""
        return self.steps[-1].names("tied", "unknown") if self.steps else ()

    @property
    def is_default(self) -> bool:
        """Whether the winner is what the documentation names for this use."""
        return self.winner is not None and self.winner.strategy == self.use.order[0]

    @property
    def value(self) -> float | None:
        """The winner's figure."""
        return self.steps[-1].value if self.steps else None


def recommend(choice: Choice) -> list[Recommendation]:
    """Return the strategy that suits each use."""
    return [_recommend(choice, use) for use in USES]


def _recommend(choice: Choice, use: Use) -> Recommendation:
    if not choice.candidates:
        return Recommendation(use, None, problem=choice.problem)
    left, inexact = _exact(choice.candidates) if use.exact else (choice.candidates, ())
    if not left:
        problem = "no measured strategy has vectors equal to the original's"
        return Recommendation(use, None, inexact=inexact, problem=problem)
    criterion, scenario = _deciding(use, left)
    if criterion is None:
        wanted = dict.fromkeys(name for each in use.criteria for name in each.scenarios)
        problem = f"nothing was measured in the scenario {' or '.join(wanted)}"
        return Recommendation(use, None, inexact=inexact, problem=problem)
    measured = [each for each in _in_order(use, left) if _value(each, criterion.key, scenario) is not None]
    alpha = (1.0 - CONFIDENCE) / 2 / max(len(measured) - 1, 1)
    winner, steps = _hold(choice, METRICS_BY_KEY[criterion.key], scenario, measured, alpha)
    return Recommendation(
        use,
        winner,
        criterion,
        scenario,
        steps,
        inexact,
        tuple(each.name for each in left if each not in measured),
        fewest_pairs(alpha),
        candidates=choice.candidates,
    )


def _exact(candidates: Sequence[Candidate]) -> tuple[Sequence[Candidate], tuple[tuple[str, float | None], ...]]:
    """Return those whose vectors equal the original's, and the others; all, if none was compared."""
    if all(each.cosine is None for each in candidates):
        return candidates, ()
    kept = [each for each in candidates if each.cosine is not None and each.cosine >= EXACT]
    return kept, tuple((each.name, each.cosine) for each in candidates if each not in kept)


def _deciding(use: Use, left: Sequence[Candidate]) -> tuple[Criterion | None, str]:
    """Return what decides, and the label of its scenario: of several settings, the one that most were measured in."""
    for criterion in use.criteria:
        for name in criterion.scenarios:
            labels = [
                label
                for candidate in left
                for label, summary in candidate.summaries.items()
                if summary.cell.scenario == name and criterion.key in summary.spreads
            ]
            if labels:
                return criterion, min(labels, key=lambda label: (-labels.count(label), label))
    return None, ""


def _in_order(use: Use, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return them with the default first; strategies that the use does not know keep their place at the end."""
    known = {name: position for position, name in enumerate(use.order)}
    return sorted(candidates, key=lambda each: (known.get(each.strategy, len(known)), each.engine != "auto"))


def _hold(
    choice: Choice, metric: Metric, scenario: str, contenders: Sequence[Candidate], alpha: float
) -> tuple[Candidate, tuple[Step, ...]]:
    """Return who is left when the first is replaced by the first that beats it, and so on among those that did."""
    steps = []
    while True:
        holder, *others = contenders
        rivals = tuple(_compare(choice, each, holder, metric, scenario, alpha) for each in others)
        steps.append(Step(holder.name, _value(holder, metric.key, scenario) or 0.0, rivals))
        beaten_by = steps[-1].names("better")
        if not beaten_by:
            return holder, tuple(steps)
        contenders = [each for each in others if each.name in beaten_by]


def _compare(
    choice: Choice, candidate: Candidate, holder: Candidate, metric: Metric, scenario: str, alpha: float
) -> Rival:
    """Return what a candidate shows beside the one that it has to beat; smaller is better."""
    value, other = (_value(each, metric.key, scenario) or 0.0 for each in (candidate, holder))
    mine, theirs = (_by_round(choice, each.summaries[scenario].cell, metric) for each in (candidate, holder))
    pairs = [(mine[key], theirs[key]) for key in mine if key in theirs]
    logs = [math.log(one / another) for one, another in pairs if one > 0 and another > 0]
    if not logs or len(logs) < len(pairs):
        return Rival(candidate.name, value, "unknown", n=len(logs))
    own, joint = paired_shift(logs, OWN_ALPHA), paired_shift(logs, alpha)
    if not math.isfinite(own.high):
        return Rival(candidate.name, value, "unknown", own.ratio, None, len(logs))
    floor = FLOORS[metric.unit]
    is_alike = abs(value - other) < floor or 1 / ALIKE <= own.ratio <= ALIKE
    limit = max(MARGIN, 1 + floor / value)
    verdict = "tied" if is_alike else _verdict(own, joint, limit)
    return Rival(candidate.name, value, verdict, own.ratio, Interval(own.low, own.high), len(logs))


def _verdict(own: Shift, joint: Shift, limit: float) -> RivalVerdict:
    """Return what the intervals of a ratio say: better takes the whole joint one below ``1 / limit``."""
    if joint.high < 1 / limit:
        return "better"
    return "worse" if own.low > 1.0 else "ahead" if own.high < 1.0 else "tied"


def _by_round(choice: Choice, cell: Cell, metric: Metric) -> Mapping[Hashable, float]:
    found = {(record.run, record.round): metric.value(record) for record in choice.records_by_cell.get(cell, ())}
    return {key: value for key, value in found.items() if value is not None}


def _value(candidate: Candidate, key: str, scenario: str) -> float | None:
    summary = candidate.summaries.get(scenario)
    return summary.median(key) if summary else None
