"""Which strategy suits which use, as the records have it. Pure functions.

A use has criteria, the most important first. At each, the candidate with the best median stays, and with it every other
that cannot be told apart from it. Of those that stay to the end, the simplest is named.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.comparison import FLOORS
from bench.fidelity import MIN_COSINE
from bench.intervals import Interval, median_interval
from bench.metrics import METRICS_BY_KEY
from bench.report.uses import COSINE, USES
from bench.shifts import paired_shift

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from bench.metrics import Metric
    from bench.plan import Cell
    from bench.report.candidates import Candidate, Choice
    from bench.report.uses import Criterion, Use

ALIKE = 1.03
"""Ratio up to which two strategies are alike: nobody notices 3 %, the tolerance of comparisons and gates as well."""

ALPHA = 0.025
"""Probability that an interval of a ratio ends on the wrong side, at each of its ends."""

EXACT = MIN_COSINE["float32"]
"""Lowest cosine with the original's vectors at which vectors count as exact."""


@dataclass(frozen=True)
class Loss:
    """A candidate that a step eliminated.

    Attributes:
        name: of the candidate.
        value: its median, or its lowest cosine; None where it was not measured.
        ratio: to the best's by round, see ``bench.shifts.paired_shift``, or the median where a figure is 0; None for
            cosines and without a common round.
        interval: of that ratio, None with too few rounds.
    """

    name: str
    value: float | None
    ratio: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class Step:
    """One criterion, applied.

    Attributes:
        criterion: what was compared.
        scenario: label of the scenario, "" for cosines and for a skipped step.
        best: name of the best candidate, "" for a skipped step.
        best_value: its median, or its lowest cosine.
        lost: who was eliminated, the closest first.
        left: names of those that stayed.
        skipped: whether nobody was measured for it.
    """

    criterion: Criterion
    scenario: str = ""
    best: str = ""
    best_value: float | None = None
    lost: tuple[Loss, ...] = ()
    left: tuple[str, ...] = ()
    skipped: bool = False


@dataclass(frozen=True)
class Recommendation:
    """What suits a use.

    Attributes:
        use: the use.
        winner: the candidate that is named, None if there is none.
        equals: names of the others that stayed to the end.
        steps: how it was found, a step for each criterion.
        problem: why there is no winner, or "".
        candidates: who was to choose from.
    """

    use: Use
    winner: Candidate | None
    equals: tuple[str, ...]
    steps: tuple[Step, ...]
    problem: str = ""
    candidates: tuple[Candidate, ...] = ()

    def value(self, step: Step) -> float | None:
        """Return the winner's value in a step, None if there is none."""
        if self.winner is None or step.skipped:
            return None
        return _values([self.winner], step.criterion.key, step.scenario)[0]


def recommend(choice: Choice) -> list[Recommendation]:
    """Return the strategy that suits each use."""
    return [_recommend(choice, use) for use in USES]


def _recommend(choice: Choice, use: Use) -> Recommendation:
    left: Sequence[Candidate] = choice.candidates
    if not left:
        return Recommendation(use, None, (), (), choice.problem)
    steps = []
    for criterion in use.criteria:
        scenario = _scenario(criterion, left)
        if criterion.key == COSINE:
            step, left = _exact(criterion, left)
        elif scenario is None:
            step = Step(criterion, left=_names(left), skipped=True)
        else:
            step, left = _fastest(choice, criterion, scenario, left)
        steps.append(step)
    problem = ""
    if not left:
        problem = "no strategy that was measured has vectors as exact as the original's"
    elif all(step.skipped for step in steps if step.criterion.key != COSINE):
        wanted = dict.fromkeys(name for criterion in use.criteria for name in criterion.scenarios)
        problem = f"nothing was measured in the scenario {' or '.join(wanted)}"
    if problem:
        return Recommendation(use, None, (), tuple(steps), problem)
    return Recommendation(use, left[0], _names(left[1:]), tuple(steps), candidates=choice.candidates)


def _scenario(criterion: Criterion, left: Sequence[Candidate]) -> str | None:
    """Return the label of the scenario that counts: of several settings, the one that most were measured in."""
    for name in criterion.scenarios:
        labels = [
            label
            for candidate in left
            for label, summary in candidate.summaries.items()
            if summary.cell.scenario == name and criterion.key in summary.spreads
        ]
        if labels:
            return min(labels, key=lambda label: (-labels.count(label), label))
    return None


def _exact(criterion: Criterion, left: Sequence[Candidate]) -> tuple[Step, Sequence[Candidate]]:
    """Return what is left of candidates whose vectors have to be as exact as the original's."""
    compared = [candidate for candidate in left if candidate.cosine is not None]
    if not compared:
        return Step(criterion, left=_names(left), skipped=True), left
    best = max(compared, key=_cosine)
    kept = [candidate for candidate in compared if _cosine(candidate) >= EXACT]
    lost = [Loss(candidate.name, candidate.cosine) for candidate in left if candidate not in kept]
    lost.sort(key=lambda loss: math.inf if loss.value is None else -loss.value)
    return Step(criterion, "", best.name, best.cosine, tuple(lost), _names(kept)), kept


def _fastest(
    choice: Choice, criterion: Criterion, scenario: str, left: Sequence[Candidate]
) -> tuple[Step, Sequence[Candidate]]:
    """Return what cannot be told apart from the best of a metric, which is the smallest."""
    metric, values = METRICS_BY_KEY[criterion.key], _values(left, criterion.key, scenario)
    best_value, best = min(
        ((value, each) for value, each in zip(values, left, strict=True) if value is not None), key=lambda pair: pair[0]
    )
    kept, lost = [], []
    for candidate in left:
        loss = _against(choice, candidate, best, scenario, metric)
        if candidate is best or _is_alike(loss, best_value, metric):
            kept.append(candidate)
        else:
            lost.append(loss)
    lost.sort(key=lambda loss: math.inf if loss.value is None else loss.value)
    return Step(criterion, scenario, best.name, best_value, tuple(lost), _names(kept)), kept


def _against(choice: Choice, candidate: Candidate, best: Candidate, scenario: str, metric: Metric) -> Loss:
    """Return what a candidate shows beside the best, whether or not it is eliminated by it."""
    (value,) = _values([candidate], metric.key, scenario)
    if value is None:
        return Loss(candidate.name, None)
    mine, theirs = (_by_round(choice, each.summaries[scenario].cell, metric) for each in (candidate, best))
    ratios = [_divide(mine[key], theirs[key]) for key in mine if key in theirs]
    if not ratios:
        return Loss(candidate.name, value)
    if all(0.0 < ratio < math.inf for ratio in ratios):
        shift = paired_shift([math.log(ratio) for ratio in ratios], ALPHA)
        interval = Interval(shift.low, shift.high) if math.isfinite(shift.high) else None
        return Loss(candidate.name, value, shift.ratio, interval)
    # Stalls may be 0, which has no logarithm.
    return Loss(candidate.name, value, statistics.median(ratios), median_interval(ratios))


def _is_alike(loss: Loss, best_value: float, metric: Metric) -> bool:
    """Whether a candidate cannot be told apart from the best, or differs by what nobody notices."""
    if loss.value is None:
        return False
    ratio = _divide(loss.value, best_value) if loss.ratio is None else loss.ratio
    if loss.value - best_value < FLOORS[metric.unit] or ratio <= ALIKE:
        return True
    return loss.interval is not None and loss.interval.low <= 1.0


def _by_round(choice: Choice, cell: Cell, metric: Metric) -> Mapping[Hashable, float]:
    found = {(record.run, record.round): metric.value(record) for record in choice.records_by_cell.get(cell, ())}
    return {key: value for key, value in found.items() if value is not None}


def _divide(mine: float, theirs: float) -> float:
    """Return a ratio; stalls, unlike times, may be 0."""
    return mine / theirs if theirs else math.inf if mine else 1.0


def _values(candidates: Sequence[Candidate], key: str, scenario: str) -> list[float | None]:
    if key == COSINE:
        return [candidate.cosine for candidate in candidates]
    found = [candidate.summaries.get(scenario) for candidate in candidates]
    return [summary.median(key) if summary else None for summary in found]


def _cosine(candidate: Candidate) -> float:
    return -math.inf if candidate.cosine is None else candidate.cosine


def _names(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(candidate.name for candidate in candidates)
