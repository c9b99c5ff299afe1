"""Statistics over records: pure functions, nothing measured and nothing printed here.

Medians, because the noise of a shared machine is one-sided: a sample is slowed down now and then, never sped up. Ratios
are formed within each round, where both samples saw the same machine, and their median is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.plan import Cell
    from bench.records import Record


@dataclass(frozen=True)
class Spread:
    """The distribution of one metric in one cell, in the metric's unit; ``n`` counted samples."""

    n: int
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class CellSummary:
    """What the records say of one cell.

    Attributes:
        cell: the cell.
        spreads: by metric key; a metric that no counted sample has is missing.
        ratios: median over the rounds of this cell divided by its reference, by metric key.
        problems: how many samples of each other status, with one of their messages.
    """

    cell: Cell
    spreads: Mapping[str, Spread]
    ratios: Mapping[str, float]
    problems: Mapping[str, tuple[int, str]]

    def median(self, key: str) -> float | None:
        """Return the median of a metric, or None."""
        spread = self.spreads.get(key)
        return spread.median if spread else None


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per counted sample: ``cell``, ``round`` and a column per metric (NaN where it has none)."""
    rows = [
        {"cell": record.cell, "round": record.round, **{metric.key: metric.value(record) for metric in METRICS}}
        for record in records
        if record.counts
    ]
    columns = ["cell", "round", *(metric.key for metric in METRICS)]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({metric.key: "float64" for metric in METRICS})


def summarise(records: Sequence[Record], order: Sequence[Cell] = ()) -> dict[Cell, CellSummary]:
    """Return a summary for each cell that has records.

    Args:
        records: of one run.
        order: cells that come first, in this order; the others follow in the order of their records.
    """
    frame = to_frame(records)
    present = dict.fromkeys(record.cell for record in records)
    cells = [cell for cell in dict.fromkeys([*order, *present]) if cell in present]
    references = {cell.reference: cell for cell in cells if cell.is_baseline}
    return {
        cell: CellSummary(
            cell,
            _spreads(frame[frame["cell"] == cell]),
            _ratios(frame, cell, references.get(cell.reference)),
            _problems([record for record in records if record.cell == cell]),
        )
        for cell in cells
    }


def _spreads(samples: pd.DataFrame) -> dict[str, Spread]:
    spreads = {}
    for metric in METRICS:
        values = samples[metric.key].dropna()
        if len(values):
            spreads[metric.key] = Spread(len(values), float(values.median()), float(values.min()), float(values.max()))
    return spreads


def _ratios(frame: pd.DataFrame, cell: Cell, reference: Cell | None) -> dict[str, float]:
    if reference is None or reference == cell:
        return {}
    mine = frame[frame["cell"] == cell].set_index("round")
    theirs = frame[frame["cell"] == reference].set_index("round")
    ratios = {}
    for metric in METRICS:
        quotients = (mine[metric.key] / theirs[metric.key]).dropna()
        if len(quotients):
            ratios[metric.key] = float(quotients.median())
    return ratios


def _problems(records: Sequence[Record]) -> dict[str, tuple[int, str]]:
    problems: dict[str, tuple[int, str]] = {}
    for record in records:
        if record.status != "ok":
            count, _ = problems.get(record.status, (0, ""))
            problems[record.status] = (count + 1, record.message)
    return problems
