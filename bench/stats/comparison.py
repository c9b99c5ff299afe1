"""What changed from one run to another: shifts with their intervals, limits and verdicts. Pure functions.

Only cells of the loader are judged: references and other libraries are the same in both runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench.data.conditions import match_machines
from bench.data.metrics import FLOORS, METRICS_BY_KEY, leading_metric
from bench.errors import EXIT_HARNESS, EXIT_INCOMPARABLE, EXIT_OK, EXIT_REGRESSION, BenchError
from bench.stats.pairing import Side, bring_together
from bench.stats.shifts import holm_levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.data.metrics import Metric
    from bench.plan.cell import Cell
    from bench.stats.context import Context
    from bench.stats.pairing import TwoSamples
    from bench.stats.shifts import Shift

ChangeVerdict = Literal["over", "improved", "same", "inconclusive"]

MAX_DRIFT = 1.10
"""Factor by which a reference may have moved between two runs: a larger change need not affect everything alike."""


@dataclass(frozen=True)
class Criteria:
    """How runs are judged.

    Attributes:
        metrics: keys; if empty, the leading metric of each cell, its init time and its peak memory.
        tolerance: by how much a figure may grow; 0.03 is 3 %.
        tolerances: exceptions from that, by metric key.
        floors: by how much it must grow to matter, by metric key, in its unit; ``FLOORS`` for all others.
        confidence: two-sided, of everything that is judged together.
        resolution: how far above its limit (as a ratio minus one) an interval may reach and still be conclusive.
    """

    metrics: tuple[str, ...] = ()
    tolerance: float = 0.03
    tolerances: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.95
    resolution: float = 0.10

    @property
    def alpha(self) -> float:
        """One-sided probability of an error."""
        return (1.0 - self.confidence) / 2

    def metrics_of(self, cell: Cell) -> list[Metric]:
        """Return the metrics that a cell is judged by."""
        keys = self.metrics or (leading_metric(cell).key, "init_ms", "peak_mib")
        return [METRICS_BY_KEY[key] for key in dict.fromkeys(keys)]

    def limit(self, metric: Metric, base_median: float) -> float:
        """Return the limit of the ratio; the floor raises it if the figure is so small that a ratio means little."""
        tolerance = self.tolerances.get(metric.key, self.tolerance)
        return max(1.0 + tolerance, 1.0 + self.floors.get(metric.key, FLOORS[metric.unit]) / base_median)


@dataclass(frozen=True)
class Difference:
    """How one metric of one cell changed.

    Attributes:
        cell: the cell.
        metric: the metric.
        machine: name of the machine, "" if there is only one.
        samples: what was compared.
        shift: from base to head.
        limit: of that ratio.
        verdict: ``over``: the whole interval is above the limit; ``improved``: it is as far below 1;
            ``inconclusive``: it reaches too far above the limit, or the reference moved too much; otherwise ``same``.
        rounds_needed: if the interval is too wide, about how many rounds of each run would make it narrow enough.
    """

    cell: Cell
    metric: Metric
    machine: str
    samples: TwoSamples
    shift: Shift
    limit: float
    verdict: ChangeVerdict
    rounds_needed: int | None


@dataclass(frozen=True)
class Gap:
    """A cell, or a metric of one, that cannot be compared.

    Attributes:
        cell: the cell.
        machine: name of the machine, "" if there is only one.
        metric: None for the whole cell.
        side: which run has no samples of it.
        message: why, as far as known.
    """

    cell: Cell
    machine: str
    metric: Metric | None
    side: Literal["base", "head", "both"]
    message: str

    @property
    def is_loss(self) -> bool:
        """Whether a cell of the loader was measured before and has no samples now."""
        return self.side == "head" and self.metric is None and not (self.cell.is_peer or self.cell.is_baseline)


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    Attributes:
        differences: one for each metric and cell of the loader that both have.
        gaps: cells and metrics for which one run, or neither, has samples.
        alone: a sentence for each machine that only one run has.
        criteria: how the runs were judged.
    """

    differences: tuple[Difference, ...]
    gaps: tuple[Gap, ...]
    alone: tuple[str, ...]
    criteria: Criteria

    def judged(self, verdict: ChangeVerdict) -> list[Difference]:
        """Return the differences with this verdict."""
        return [difference for difference in self.differences if difference.verdict == verdict]

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if any(gap.is_loss for gap in self.gaps):
            return EXIT_HARNESS
        if self.judged("over"):
            return EXIT_REGRESSION
        return EXIT_INCOMPARABLE if self.judged("inconclusive") else EXIT_OK


def compare(base: Context, head: Context, criteria: Criteria) -> Comparison:
    """Return what changed from one run to the other, on each machine that both have.

    Raises:
        IncomparableError: they share no machine, or were not measured alike on one.
        BenchError: they have no cell of the loader in common, or a value is not above 0.
    """
    machines = match_machines(base.manifest, head.manifest)
    several = len(machines.both) + len(machines.alone) > 1
    gaps: list[Gap] = []
    asked: list[tuple[Cell, Metric, str, TwoSamples]] = []
    for mine, theirs in machines.both.items():
        name = base.machine_name(mine) if several else ""
        before, after = Side(base, mine), Side(head, theirs)
        gaps += _lost_cells(before, after, name)
        for cell in before.measured:
            if cell not in after.measured or cell.is_baseline or cell.is_peer:
                continue
            for metric in criteria.metrics_of(cell):
                samples = bring_together(before, after, cell, metric, criteria.alpha)
                if samples is not None:
                    asked.append((cell, metric, name, samples))
                else:
                    gaps += _lost_figure(before, after, cell, metric, name)
    if not asked:
        raise BenchError(_nothing_in_common(base, head, gaps))
    limits = [criteria.limit(metric, samples.base_median) for _, metric, _, samples in asked]
    probabilities = [item[-1].excess_probability(math.log(limit)) for item, limit in zip(asked, limits, strict=True)]
    levels = holm_levels(probabilities, criteria.alpha)
    differences = [
        _judge(*item, limit, level, criteria.resolution)
        for item, limit, level in zip(asked, limits, levels, strict=True)
    ]
    return Comparison(tuple(differences), tuple(gaps), machines.alone, criteria)


def _judge(
    cell: Cell, metric: Metric, machine: str, samples: TwoSamples, limit: float, level: float, resolution: float
) -> Difference:
    shift, highest = samples.shift(level), limit * (1.0 + resolution)
    verdict: ChangeVerdict
    rounds_needed = None
    if has_drifted(samples):
        verdict = "inconclusive"
    elif shift.low > limit:
        verdict = "over"
    elif shift.high < 1.0 / limit:
        verdict = "improved"
    elif shift.high > highest:
        verdict = "inconclusive"
        rounds_needed = rounds_needed_for(shift, limit, highest, samples.fewest_rounds(level))
    else:
        verdict = "same"
    return Difference(cell, metric, machine, samples, shift, limit, verdict, rounds_needed)


def has_drifted(samples: TwoSamples) -> bool:
    """Whether the reference moved too far between the runs to conclude anything."""
    drift = samples.drift
    return drift is not None and (drift.low > MAX_DRIFT or drift.high < 1 / MAX_DRIFT)


def rounds_needed_for(shift: Shift, limit: float, highest: float, fewest: int) -> int:
    """Return about how many rounds would decide at the same estimate: an interval shrinks with their square root."""
    if math.isinf(shift.high):
        return max(fewest, shift.n + 1)
    factors = []  # by which the interval must shrink, to end below what is too high, or to begin above the limit
    if shift.ratio < highest:
        factors.append(math.log(highest / shift.ratio) / math.log(shift.high / shift.ratio))
    if shift.ratio > limit:
        factors.append(math.log(shift.ratio / limit) / math.log(shift.ratio / shift.low))
    return max(math.ceil(shift.n / max(factors) ** 2), shift.n + 1)


def _lost_cells(base: Side, head: Side, machine: str) -> Iterator[Gap]:
    """Yield the cells for which one run, or neither, has samples."""
    for cell in dict.fromkeys([*base.problems, *head.problems]):
        lacking = [side for side in (base, head) if cell not in side.measured]
        if lacking:
            why = "; ".join(dict.fromkeys(side.problems.get(cell) or "not measured" for side in lacking))
            yield Gap(
                cell, machine, None, "both" if len(lacking) == 2 else "base" if lacking == [base] else "head", why
            )


def _lost_figure(base: Side, head: Side, cell: Cell, metric: Metric, machine: str) -> Iterator[Gap]:
    """Yield a gap for a metric that only one run has, or that no round has in both."""
    has = [bool(side.values(cell, metric)) for side in (base, head)]
    if all(has):
        yield Gap(cell, machine, metric, "both", "no round has a value in both arms")
    elif any(has):
        yield Gap(cell, machine, metric, "head" if has[0] else "base", "its samples have no value")


def _nothing_in_common(base: Context, head: Context, gaps: list[Gap]) -> str:
    found = []
    for name, context in (("BASE", base), ("HEAD", head)):
        labels = dict.fromkeys(record.cell.label() for record in context.chosen)
        found.append(f"{name} has samples of: {', '.join(labels) or 'no cell'}.")
    reasons = dict.fromkeys(f"{gap.cell.label()}: {gap.message}" for gap in gaps)
    return " ".join(["The runs have no figure of the loader in common.", *found, *(f"{why}." for why in reasons)])
