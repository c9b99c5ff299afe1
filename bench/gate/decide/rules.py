"""A gate's rules, each about one metric of one cell, and what the samples say about them. Pure functions.

A rule compares two places that were measured in the same round: a place is a cell in an arm, and an arm is one of the
installations that the gate made.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from bench.data.metrics import METRICS_BY_KEY
from bench.errors import BenchError
from bench.plan.cell import EMPTY
from bench.stats.shifts import Shift, excess_probability, holm_levels, paired_shift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.data.metrics import Metric
    from bench.plan.cell import Cell

BASE, SAME, HEAD = "base", "same", "head"
"""The arms: the base revision, the same once more (the A/A control), and the revision that is judged. Names of the same
length, because the length of a path or a variable can change how fast a program runs (Mytkowicz et al., Producing
Wrong Data Without Doing Anything Obviously Wrong!, 2009)."""

ARMS = (BASE, SAME, HEAD)

RuleState = Literal["over", "within", "unclear"]


class Place(NamedTuple):
    """A cell in an arm."""

    arm: str
    cell: Cell


Round: TypeAlias = "Mapping[Place, Mapping[str, float]]"
"""What one round measured: for each place its metrics by key."""


@dataclass(frozen=True)
class Rule:
    """One question of a gate: is a metric of a cell, in the arm ``HEAD``, over a limit?

    Attributes:
        cell: what is judged.
        metric: which of its figures.
        against: what it is divided by; None if the limit is a fixed number.
        limit: limit of the ratio or, if ``against`` is None, of the figure itself, in its unit.
        floor: by how much the figure must differ to matter, in its unit.
    """

    cell: Cell
    metric: Metric
    against: Place | None
    limit: float
    floor: float = 0.0

    @property
    def is_regression(self) -> bool:
        """Whether this compares two revisions, rather than one with a fixed limit."""
        return self.against is not None and self.against.arm == BASE

    @property
    def against_metric(self) -> Metric:
        """What the metric is divided by. An empty program has no phases: every time is divided by its whole time."""
        is_empty = self.against is not None and self.against.cell.subject == EMPTY
        return METRICS_BY_KEY["process_ms"] if is_empty else self.metric

    @property
    def control(self) -> Place | None:
        """What must not differ from ``against``, because it is the same code."""
        return Place(SAME, self.cell) if self.is_regression else None

    @property
    def places(self) -> tuple[Place, ...]:
        """What must be measured in the same round."""
        return tuple(place for place in (self.against, self.control, Place(HEAD, self.cell)) if place is not None)


def no_slower(cell: Cell, metric: Metric, tolerance: float, floor: float) -> Rule:
    """Return the rule that a cell takes no more than in the base revision, plus ``tolerance`` (0.03: 3 %)."""
    return Rule(cell, metric, Place(BASE, cell), 1.0 + tolerance, floor)


def at_most(cell: Cell, metric: Metric, limit: float, times: Cell | None) -> Rule:
    """Return the rule that a cell takes at most ``limit``, in the metric's unit or as a multiple of another cell."""
    return Rule(cell, metric, None if times is None else Place(HEAD, times), limit)


@dataclass(frozen=True)
class Finding:
    """What the samples say about a rule.

    Attributes:
        rule: the rule.
        state: ``over`` or ``within`` the limit, with the shift's whole interval; otherwise ``unclear``.
        shift: the figure relative to what it is compared with; the figure itself, in its unit, if that is nothing.
        limit: the rule's limit, or the one that its floor sets.
        reference_median: in the metric's unit; None if there is nothing to compare with.
        median: median of the figure, in its unit.
        control: the shift of the A/A control, None if the rule has none.
    """

    rule: Rule
    state: RuleState
    shift: Shift
    limit: float
    reference_median: float | None
    median: float
    control: Shift | None

    @property
    def control_fires(self) -> bool:
        """Whether the control, which compares a revision with itself, is beyond the limit in either direction."""
        return self.control is not None and (self.control.low > self.limit or self.control.high < 1 / self.limit)


def places_of(rules: Iterable[Rule]) -> list[tuple[Place, ...]]:
    """Return the places that must be measured, without repetition: those that are compared are adjacent."""
    blocks: dict[Cell, dict[Place, None]] = {}
    for rule in rules:
        blocks.setdefault(rule.cell, {}).update(dict.fromkeys(rule.places))
    seen: set[Place] = set()
    result = []
    for block in blocks.values():
        result.append(tuple(place for place in block if place not in seen))
        seen.update(block)
    return [block for block in result if block]


def examine(rules: Sequence[Rule], rounds: Sequence[Round], alpha: float) -> list[Finding]:
    """Return what the rounds say about each rule.

    Args:
        rules: the hypotheses. Holm's procedure divides ``alpha`` between those that compare revisions, and again
            between those with fixed limits: these are different questions.
        rounds: at least one.
        alpha: probability that any rule of one kind is found ``over`` although it is not.

    Raises:
        BenchError: a round has no positive value for a rule.
    """
    pairs = [_ratios(rule, rounds) for rule in rules]
    limits = [_limit(rule, rounds) for rule in rules]
    probabilities = [excess_probability(logs, math.log(limit)) for logs, limit in zip(pairs, limits, strict=True)]
    levels = [alpha] * len(rules)
    for kind in (True, False):
        family = [index for index, rule in enumerate(rules) if rule.is_regression == kind]
        for index, level in zip(family, holm_levels([probabilities[i] for i in family], alpha), strict=True):
            levels[index] = level
    return [
        _finding(rule, rounds, logs, limit, level)
        for rule, logs, limit, level in zip(rules, pairs, limits, levels, strict=True)
    ]


def _finding(rule: Rule, rounds: Sequence[Round], logs: Sequence[float], limit: float, level: float) -> Finding:
    shift = paired_shift(logs, level)
    state: RuleState = "over" if shift.low > limit else "within" if shift.high < limit else "unclear"
    control = None
    if rule.control is not None and rule.against is not None:
        control = paired_shift(_logs(rule, rounds, rule.control, rule.against), level)
    return Finding(
        rule,
        state,
        shift,
        limit,
        statistics.median(values(rule, rounds, rule.against)) if rule.against else None,
        statistics.median(values(rule, rounds, Place(HEAD, rule.cell))),
        control,
    )


def _limit(rule: Rule, rounds: Sequence[Round]) -> float:
    """Return the limit of the ratio; the floor raises it if the figure is so small that a ratio means little."""
    if rule.against is None or not rule.floor:
        return rule.limit
    return max(rule.limit, 1.0 + rule.floor / statistics.median(values(rule, rounds, rule.against)))


def _ratios(rule: Rule, rounds: Sequence[Round]) -> list[float]:
    return _logs(rule, rounds, Place(HEAD, rule.cell), rule.against)


def _logs(rule: Rule, rounds: Sequence[Round], candidate: Place, reference: Place | None) -> list[float]:
    """Return the logarithms of the ratio of candidate to reference, one for each round."""
    above = values(rule, rounds, candidate)
    below = values(rule, rounds, reference) if reference else [1.0] * len(rounds)
    return [math.log(mine / theirs) for mine, theirs in zip(above, below, strict=True)]


def values(rule: Rule, rounds: Sequence[Round], place: Place) -> list[float]:
    """Return the rule's metric at a place, or what it is divided by, one value for each round.

    Raises:
        BenchError: a round has none, or one that is not positive.
    """
    metric = rule.against_metric if place == rule.against else rule.metric
    found = [measured[place].get(metric.key) for measured in rounds]
    positive = [value for value in found if value is not None and 0.0 < value < math.inf]
    if len(positive) != len(found):
        raise BenchError(
            f"{place.cell.label()} has no {metric.key} above 0 in the arm {place.arm}. Gate another "
            "metric of this cell."
        )
    return positive
