"""Statistics over records. Pure functions; nothing is measured or printed here.

Medians, because the noise of a shared machine is one-sided: a sample is sometimes slowed down, never sped up. Ratios
are taken within each round, where both samples saw the same machine, and their median is reported. Records of
different machines are never combined.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench.data.metrics import METRICS
from bench.data.selection import ratios_by_round, select
from bench.stats.intervals import Interval, median_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.data.records import Record
    from bench.plan.cell import Cell


@dataclass(frozen=True)
class Spread:
    """The distribution of one metric in one cell, in the metric's unit.

    Attributes:
        n: counted samples.
        median: their median.
        interval: the median's 95 % confidence interval; None for too few samples, see ``bench.stats.intervals``.
    """

    n: int
    median: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Ratio:
    """A cell divided by its reference: the median over the rounds, and its 95 % confidence interval.

    ``interval`` is None if there are too few rounds, see ``bench.stats.intervals``.
    """

    median: float
    interval: Interval | None


@dataclass(frozen=True)
class CellSummary:
    """What the records say about one cell on one machine.

    Attributes:
        cell: the cell.
        machine: fingerprint of the machine.
        spreads: by metric key; a metric that no counted sample has is missing.
        ratios: ratios of this cell to its reference, by metric key.
        problems: number of samples of each other status, with one of their messages.
        excluded: number of samples that do not count, besides warm-ups and watched ones: those in ``problems``, and
            those that were disturbed and taken again.
    """

    cell: Cell
    machine: str
    spreads: Mapping[str, Spread]
    ratios: Mapping[str, Ratio]
    problems: Mapping[str, tuple[int, str]]
    excluded: int = 0

    def median(self, key: str) -> float | None:
        """Return the median of a metric, or None."""
        spread = self.spreads.get(key)
        return spread.median if spread else None


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per record that enters the statistics; also for your own analyses.

    Columns: ``machine``, ``run``, ``round``, ``cell`` and one per metric, in its unit; NaN if a record has none.
    """
    rows = [
        {
            "machine": record.machine,
            "run": record.run,
            "round": record.round,
            "cell": record.cell,
            **{metric.key: metric.value(record) for metric in METRICS},
        }
        for record in select(records)
    ]
    frame = pd.DataFrame(rows, columns=["machine", "run", "round", "cell", *(metric.key for metric in METRICS)])
    return frame.astype({metric.key: "float64" for metric in METRICS})


def summarise(records: Sequence[Record], order: Sequence[Cell] = ()) -> list[CellSummary]:
    """Return a summary for each machine and cell with records.

    Args:
        records: one run's, or a merged run's.
        order: cells that come first, in this order; the others follow in the order of their records.
    """
    timed = [record for record in records if not record.instrument]
    summaries = []
    for machine in dict.fromkeys(record.machine for record in timed):
        mine = [record for record in timed if record.machine == machine]
        chosen, frame = select(mine), to_frame(mine)
        present = dict.fromkeys(record.cell for record in mine)
        cells = [cell for cell in dict.fromkeys([*order, *present]) if cell in present]
        references = {cell.reference: cell for cell in cells if cell.is_baseline}
        for cell in cells:
            spreads = _spreads(frame[frame["cell"] == cell])
            ratios = _ratios(chosen, cell, references.get(cell.reference))
            its = [record for record in mine if record.cell == cell]
            excluded = sum(not record.is_warmup for record in its) - sum(record.cell == cell for record in chosen)
            summaries.append(CellSummary(cell, machine, spreads, ratios, _problems(its), excluded))
    return summaries


def _spreads(samples: pd.DataFrame) -> dict[str, Spread]:
    spreads = {}
    for metric in METRICS:
        values = samples[metric.key].dropna()
        if len(values):
            spreads[metric.key] = Spread(len(values), float(values.median()), median_interval(values.tolist()))
    return spreads


def _ratios(chosen: Sequence[Record], cell: Cell, reference: Cell | None) -> dict[str, Ratio]:
    if reference is None or reference == cell:
        return {}
    ratios = {}
    for metric in METRICS:
        quotients = ratios_by_round(chosen, cell, reference, metric)
        if quotients:
            ratios[metric.key] = Ratio(statistics.median(quotients), median_interval(quotients))
    return ratios


def _problems(records: Sequence[Record]) -> dict[str, tuple[int, str]]:
    problems: dict[str, tuple[int, str]] = {}
    for record in records:
        if record.status != "ok":
            count, _ = problems.get(record.status, (0, ""))
            problems[record.status] = (count + 1, record.message)
    return problems
