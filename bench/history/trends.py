"""One metric of one cell in all runs of a group, and what changed from each run to the next. Pure functions."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from bench.data.metrics import METRICS_BY_KEY, leading_metric
from bench.stats.comparison import MAX_DRIFT, Criteria
from bench.stats.intervals import Interval, median_interval
from bench.stats.pairing import OTHER_REFERENCES
from bench.stats.shifts import Shift, independent_shift, paired_shift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.data.metrics import Metric
    from bench.history.order import Position, RunGroup
    from bench.history.runs import HistoryRun
    from bench.plan.cell import Cell

_LARGEST = 1e15
"""No figure of a real process is larger, and none that enters a ratio is smaller than its inverse: damaged records are
skipped before they overflow."""

Mark = Literal["up", "down", "none", "unclear", "machine"]


@dataclass(frozen=True)
class Point:
    """One run's values of the figure.

    Attributes:
        position: its position on the axis.
        place: the position's number, from 0.
        run: the run.
        values: by round, in the metric's unit or divided by the reference's value of the same round.
        plain_median: in the metric's unit; None without values.
    """

    position: Position
    place: int
    run: HistoryRun
    values: Mapping[int, float]
    plain_median: float | None

    @cached_property
    def median(self) -> float | None:
        """The values' median."""
        return statistics.median(self.values.values()) if self.values else None

    @cached_property
    def interval(self) -> Interval | None:
        """The median's confidence interval; None with fewer than six values."""
        return median_interval(list(self.values.values()))


@dataclass(frozen=True)
class Change:
    """The change from a run to the next one with values.

    Attributes:
        before: the earlier one, as its number in the trend.
        point: the later one.
        shift: ratio of the later to the earlier, with its interval.
        limit: the largest ratio that does not matter: from the tolerance, or from the metric's floor.
        mark: ``up`` or ``down``: the whole interval is beyond the limit; ``none``: it is not; ``unclear``: too few
            samples for an interval; ``machine``: the reference itself changed too much to conclude anything.
    """

    before: int
    point: int
    shift: Shift
    limit: float
    mark: Mark


@dataclass(frozen=True)
class Trend:
    """A figure over the runs of a group.

    Attributes:
        cell: the cell.
        metric: the metric.
        reference: the cell whose figure each value is divided by; None for plain values.
        points: for each run that has records of the cell, in order.
        changes: in order.
    """

    cell: Cell
    metric: Metric
    reference: Cell | None
    points: tuple[Point, ...]
    changes: tuple[Change, ...]

    @property
    def axis(self) -> str:
        """What the values are."""
        if self.reference is None:
            return f"{self.metric.title} ({self.metric.unit})"
        return f"{self.metric.title}, as a multiple of {self.reference.strategy}"


def choose_cells(group: RunGroup, pattern: str | None) -> list[Cell]:
    """Return the cells to draw, in the order of their names.

    Args:
        group: whose cells.
        pattern: of their labels, with ``*`` and ``?``; None for the loader's cells that wait until it is ready or, if
            there are none, for all except references and other libraries.
    """
    cells = sorted({cell for run in group.runs for cell in run.cells}, key=_order)
    if pattern is not None:
        return [cell for cell in cells if fnmatchcase(cell.label(), pattern)]
    ours = [cell for cell in cells if not (cell.is_peer or cell.is_baseline)]
    return [cell for cell in ours if cell.scenario == "idle"] or ours


def make_trend(group: RunGroup, cell: Cell, key: str | None, criteria: Criteria, *, absolute: bool) -> Trend | None:
    """Return a figure over the runs; None if none of them has it.

    Args:
        group: the runs.
        cell: the cell.
        key: the metric's key; None for the metric that the cell is judged by.
        criteria: tolerance, floors and confidence.
        absolute: plain values, even if all runs have a reference.
    """
    metric = METRICS_BY_KEY[key] if key else leading_metric(cell)
    places = [
        (position, place, run)
        for place, position in enumerate(group.positions)
        for run in position.runs
        if cell in run.problems
    ]
    plain = [_values(run, cell, metric) for *_, run in places]
    reference = None
    if not absolute and metric.unit in {"ms", "s"}:  # memory does not depend on how fast the machine is
        reference = _reference([run for (*_, run), values in zip(places, plain, strict=True) if values], cell, metric)
    points = tuple(
        Point(
            position,
            place,
            run,
            values if reference is None else _ratios(values, _values(run, reference, metric)),
            statistics.median(values.values()) if values else None,
        )
        for (position, place, run), values in zip(places, plain, strict=True)
    )
    if not any(point.values for point in points):
        return None
    return Trend(cell, metric, reference, points, _changes(points, metric, reference, criteria))


def _values(run: HistoryRun, cell: Cell, metric: Metric) -> dict[int, float]:
    found = ((record.round, metric.value(record)) for record in run.records if record.cell == cell)
    return {number: value for number, value in found if value is not None and abs(value) < _LARGEST}


def _ratios(values: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    return {
        number: value / reference[number]
        for number, value in values.items()
        if reference.get(number, 0.0) > 1.0 / _LARGEST
    }


def _reference(runs: Sequence[HistoryRun], cell: Cell, metric: Metric) -> Cell | None:
    """Return the reference that all runs measured in the same rounds: plain sentence-transformers, or else a floor."""
    cells: Iterable[Cell] = sorted({other for run in runs for other in run.cells} - {cell}, key=_order)
    plain = [other for other in cells if other.is_baseline and other.reference == cell.reference]
    peers = [
        other
        for subject in OTHER_REFERENCES
        for other in cells
        if other.subject == subject and (other.model, other.scenario) == (cell.model, cell.scenario)
    ]
    for other in [] if cell.is_baseline else [*plain, *peers]:
        if all(_ratios(_values(run, cell, metric), _values(run, other, metric)) for run in runs):
            return other
    return None


def _changes(points: Sequence[Point], metric: Metric, reference: Cell | None, criteria: Criteria) -> tuple[Change, ...]:
    changes = []
    measured = [(number, point) for number, point in enumerate(points) if point.values]
    for (earlier, before), (number, after) in pairwise(measured):
        # A ratio needs values above 0; a stall, for example, can be 0.
        if min(*before.values.values(), *after.values.values()) > 1.0 / _LARGEST and before.plain_median:
            shift = _shift(before, after, criteria.alpha)
            limit = criteria.limit(metric, before.plain_median)
            moved = reference is not None and _has_moved(before.run, after.run, reference, metric, criteria.alpha)
            changes.append(Change(earlier, number, shift, limit, "machine" if moved else _mark(shift, limit)))
    return tuple(changes)


def _shift(before: Point, after: Point, alpha: float) -> Shift:
    common = [number for number in before.values if number in after.values]
    if before.run.gate and before.run.gate == after.run.gate and common:  # measured in turn, in the same rounds
        return paired_shift([math.log(after.values[each] / before.values[each]) for each in common], alpha)
    return independent_shift(_logs(before.values), _logs(after.values), alpha)


def _mark(shift: Shift, limit: float) -> Mark:
    if not math.isfinite(shift.high):
        return "unclear"
    if shift.low > limit:
        return "up"
    return "down" if shift.high < 1.0 / limit else "none"


def _has_moved(before: HistoryRun, after: HistoryRun, reference: Cell, metric: Metric, alpha: float) -> bool:
    """Whether the reference itself changed by more than can affect everything alike, see ``bench.stats.comparison``."""
    first, second = (_logs(_values(run, reference, metric)) for run in (before, after))
    drift = independent_shift(first, second, alpha)
    return drift.low > MAX_DRIFT or drift.high < 1.0 / MAX_DRIFT


def _logs(values: Mapping[int, float]) -> list[float]:
    return [math.log(value) for value in values.values() if value > 0.0]


def _order(cell: Cell) -> tuple[str, str, str]:
    return (cell.label(), cell.model, repr(cell))
