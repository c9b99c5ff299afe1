"""Which samples of two runs are compared, and how they are paired. Pure functions.

Runs whose rounds were interleaved (the arms of one gate) are paired by round. Other runs have no rounds in common:
their samples are independent sets, and the machine may have become slower or faster between them. Dividing times by a
reference's time in the same round cancels that. Memory does not depend on it.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from bench.data.selection import ratios_by_round
from bench.errors import BenchError
from bench.plan.cell import EMPTY
from bench.stats.shifts import (
    ENOUGH,
    excess_probability,
    fewest_pairs,
    independent_excess_probability,
    independent_shift,
    paired_shift,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.data.metrics import Metric
    from bench.data.records import Record
    from bench.plan.cell import Cell
    from bench.stats.context import Context
    from bench.stats.shifts import Shift

Design = Literal["by round", "by reference", "absolute"]

OTHER_REFERENCES = ("import_numpy", EMPTY)
"""Peers whose times stand for the machine's speed in runs without plain sentence-transformers: the first that both
have. The longer one comes first, because its times vary less, as a share."""


@dataclass(frozen=True)
class Side:
    """What one of the two runs measured on one machine."""

    context: Context
    machine: str

    @cached_property
    def records(self) -> list[Record]:
        """The samples that count."""
        return [record for record in self.context.chosen if record.machine == self.machine]

    @cached_property
    def problems(self) -> dict[Cell, str]:
        """For each cell with records, why some of them do not count, in the order of the plan."""
        return {
            summary.cell: "; ".join(f"{status}: {message}" for status, (_, message) in summary.problems.items())
            for summary in self.context.summaries
            if summary.machine == self.machine
        }

    @cached_property
    def measured(self) -> list[Cell]:
        """The cells that have samples, in the order of the plan."""
        mine = {record.cell for record in self.records}
        return [cell for cell in self.problems if cell in mine]

    @property
    def gate(self) -> str:
        """The gate that this is an arm of, "" for an ordinary or a merged run."""
        return self.context.manifest.paired_by

    def values(self, cell: Cell, metric: Metric) -> dict[tuple[str, int], float]:
        """Return a metric's values by run and round.

        Raises:
            BenchError: one is not above 0.
        """
        found = {}
        for record in self.records:
            value = metric.value(record) if record.cell == cell else None
            if value is not None:
                if not 0.0 < value < math.inf:
                    raise BenchError(
                        f"{cell.label()} has a {metric.key} of {value:g} in round {record.round}, but ratios need "
                        "values above 0. Compare other metrics."
                    )
                found[record.run, record.round] = value
        return found


@dataclass(frozen=True)
class TwoSamples:
    """One metric of one cell in two runs.

    Attributes:
        design: what is compared: pairs ``by round``, ratios ``by reference``, or ``absolute`` values.
        base: logarithms of the values.
        head: the same; paired with base, in the same order, if the design is by round.
        base_median: in the metric's unit.
        head_median: in the metric's unit.
        reference: what the samples were divided by.
        drift: the reference's own shift.
    """

    design: Design
    base: Sequence[float]
    head: Sequence[float]
    base_median: float
    head_median: float
    reference: Cell | None = None
    drift: Shift | None = None

    def shift(self, alpha: float) -> Shift:
        """Return the shift from base to head."""
        if self.design == "by round":
            return paired_shift(self._differences, alpha)
        return independent_shift(self.base, self.head, alpha)

    def excess_probability(self, bound: float) -> float:
        """Return the probability of samples at least this far apart if the shift's logarithm were ``bound``."""
        if self.design == "by round":
            return excess_probability(self._differences, bound)
        return independent_excess_probability(self.base, self.head, bound)

    def fewest_rounds(self, alpha: float) -> int:
        """Return the number of rounds that any interval needs."""
        if self.design == "by round":
            return fewest_pairs(alpha)
        count = ENOUGH
        while independent_shift([0.0] * count, [0.0] * count, alpha).high == math.inf:
            count += 1
        return count

    @property
    def _differences(self) -> list[float]:
        return [after - before for before, after in zip(self.base, self.head, strict=True)]


def bring_together(base: Side, head: Side, cell: Cell, metric: Metric, alpha: float) -> TwoSamples | None:
    """Return the samples of a metric in both runs, None if one of them has none.

    Args:
        base: one run.
        head: the other run.
        cell: the cell.
        metric: the metric.
        alpha: for the drift's interval, see ``bench.stats.shifts``.

    Raises:
        BenchError: a value is not above 0.
    """
    before, after = base.values(cell, metric), head.values(cell, metric)
    if not before or not after:
        return None
    medians = statistics.median(before.values()), statistics.median(after.values())
    if base.gate and base.gate == head.gate:
        theirs = {number: value for (_, number), value in after.items()}
        pairs = [(value, theirs[number]) for (_, number), value in before.items() if number in theirs]
        mine, others = ([pair[side] for pair in pairs] for side in (0, 1))
        return TwoSamples("by round", _logs(mine), _logs(others), *medians) if pairs else None
    common = [other for other in base.measured if other in head.measured]
    reference = reference_of(cell, common) if metric.unit in {"ms", "s"} else None
    if reference is not None:
        first, second = (_logs(side.values(reference, metric).values()) for side in (base, head))
        mine, others = (_logs(ratios_by_round(side.records, cell, reference, metric)) for side in (base, head))
        if mine and others:
            drift = independent_shift(first, second, alpha)
            return TwoSamples("by reference", mine, others, *medians, reference, drift)
    return TwoSamples("absolute", _logs(before.values()), _logs(after.values()), *medians)


def reference_of(cell: Cell, common: Sequence[Cell]) -> Cell | None:
    """Return the cell, present in both runs, whose times stand for the machine's speed."""
    for other in common:
        if other.is_baseline and other.reference == cell.reference:
            return other
    for subject in OTHER_REFERENCES:
        for other in common:
            if other.subject == subject and (other.model, other.scenario) == (cell.model, cell.scenario):
                return other
    return None


def _logs(values: Iterable[float]) -> list[float]:
    return [math.log(value) for value in values]
