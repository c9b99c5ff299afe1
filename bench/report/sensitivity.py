"""Would a slower revision have been noticed? What a comparison with a second run like this one would have seen.

A second run is imagined, of as many rounds and with the same noise, in which one cell takes some per cent more, and
compared with the first as ``python -m bench.compare`` compares two runs: ratios to the reference of the same round, the
Hodges-Lehmann shift of their logarithms and its interval, at the level that Holm's procedure begins with for the
figures of one cell. Both runs are drawn from the rounds of this one, whole and with replacement (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapter 6).

This knows the noise within the run and nothing else. What changes between two runs, from one day to another, is in no
sample of one run: ``python -m bench.gate`` measures both revisions in turns for that reason. A few rounds also vary a
little less than what they were drawn from, so that small runs look somewhat better than they are.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from bench.data.metrics import leading_metric
from bench.data.selection import ratios_by_round
from bench.stats.comparison import Criteria
from bench.stats.pairing import reference_of
from bench.stats.shifts import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.data.metrics import Metric
    from bench.plan.cell import Cell
    from bench.stats.context import Context

EFFECT = 0.10
"""The change that the question is about; 0.1 is 10 % more."""

EFFECTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.10, 0.15, 0.20, 0.30, 0.50, 1.00)
"""Changes among which the smallest that is seen is looked for."""

RELIABLE = 0.95
"""Share of comparisons that have to see a change."""

DRAWS = 400
"""Comparisons that are imagined: a share of 95 % is then known to about 2 %."""

SEED = 1
"""The same records give the same figures."""


@dataclass(frozen=True)
class Sensitivity:
    """What a comparison sees of one cell.

    Attributes:
        cell: the cell.
        machine: fingerprint of its machine.
        metric: the figure that the cell is judged by.
        reference: what it is divided by, None where it is compared as it is.
        n: rounds that have it, and the reference where there is one.
        noise: median absolute deviation of the logarithms, as a share: half of the rounds are within it.
        rounds_needed: how many rounds a comparison needs for an interval.
        limit: ratio above which a comparison calls a change a regression.
        lows: lower ends of the intervals that imagined comparisons of two equal runs have, as logarithms, sorted;
            infinite where there are too few rounds.
    """

    cell: Cell
    machine: str
    metric: Metric
    reference: Cell | None
    n: int
    noise: float
    rounds_needed: int
    limit: float
    lows: tuple[float, ...]

    @property
    def can_be_told(self) -> bool:
        """Whether there are enough rounds for an interval."""
        return self.n >= self.rounds_needed

    def seen(self, effect: float) -> float:
        """Return the share of comparisons whose interval is above 1 if the cell takes this much more.

        A change of 0 gives the share of false alarms. Adding a constant to all logarithms of the second run adds it to
        the ends of the interval, so one set of draws answers for every change.
        """
        return self._above(-math.log1p(effect))

    def called(self, effect: float) -> float:
        """Return the share of comparisons whose interval is above the limit, which are regressions for the command."""
        return self._above(math.log(self.limit) - math.log1p(effect))

    @property
    def smallest_seen(self) -> float | None:
        """The smallest of ``EFFECTS`` that ``RELIABLE`` comparisons see, None if there is none."""
        return next((effect for effect in EFFECTS if self.seen(effect) >= RELIABLE), None)

    def _above(self, bound: float) -> float:
        # What is above the bound by a rounding error is not above it: two equal runs without noise differ by nothing.
        return sum(low > bound + 1e-9 for low in self.lows) / len(self.lows)


def sensitivities(context: Context, criteria: Criteria | None = None) -> list[Sensitivity]:
    """Return for each measured cell but references and peers what a comparison with a second run would have seen.

    Args:
        context: a run.
        criteria: how the two would be compared.
    """
    criteria = criteria or Criteria()
    found = []
    for machine in dict.fromkeys(summary.machine for summary in context.measured):
        measured = [summary.cell for summary in context.measured if summary.machine == machine]
        for cell in measured:
            # A Total that holds a second of other work says nothing about a share of the start.
            if not (cell.is_baseline or cell.is_peer or cell.think_s):
                one = _of_cell(context, machine, cell, reference_of(cell, measured), criteria)
                found += [one] if one else []
    return found


def _of_cell(
    context: Context, machine: str, cell: Cell, reference: Cell | None, criteria: Criteria
) -> Sensitivity | None:
    """Return what a comparison sees of a cell, whose figures are judged together and with those of no other."""
    metric = leading_metric(cell)
    mine = [record for record in context.chosen if record.machine == machine]
    values = [value for record in mine if record.cell == cell and (value := metric.value(record)) is not None]
    if not values or min(values) <= 0.0:
        return None
    ratios = []
    if reference is not None and metric.unit in {"ms", "s"}:
        ratios = ratios_by_round(mine, cell, reference, metric)
    logs = sorted(math.log(value) for value in ratios or values)
    alpha, middle = criteria.alpha / len(criteria.metrics_of(cell)), statistics.median(logs)
    deviation = statistics.median(abs(value - middle) for value in logs)
    lows = tuple(sorted(_lower_ends(logs, alpha)))
    limit = criteria.limit(metric, statistics.median(values))
    used = reference if ratios else None
    return Sensitivity(
        cell, machine, metric, used, len(logs), math.expm1(deviation), _rounds_needed(alpha), limit, lows
    )


def _lower_ends(logs: Sequence[float], alpha: float) -> list[float]:
    """Return the lower end of ``bench.stats.shifts.independent_shift`` for draws of two runs from these values."""
    rank = _rank(len(logs), alpha)
    if rank is None:
        return [-math.inf] * DRAWS
    values = np.asarray(logs, float)
    draws = values[np.random.default_rng(SEED).integers(len(values), size=(DRAWS, 2, len(values)))]
    return [_lower_end(base, head, rank) for base, head in draws]


def _lower_end(base: NDArray[np.float64], head: NDArray[np.float64], rank: int) -> float:
    differences = np.subtract.outer(head, base).ravel()
    return float(np.partition(differences, rank - 1)[rank - 1])


def _rank(n: int, alpha: float) -> int | None:
    """Return which of the sorted differences of two runs of ``n`` rounds the interval begins with, None if with none.

    Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (3rd edition), section 4.3, as in
    ``bench.stats.shifts``.
    """
    rank = math.floor(n * n / 2 - float(norm.isf(alpha)) * math.sqrt(n * n * (2 * n + 1) / 12))
    return rank if n >= ENOUGH and rank >= 1 else None


def _rounds_needed(alpha: float) -> int:
    count = ENOUGH
    while _rank(count, alpha) is None:
        count += 1
    return count
