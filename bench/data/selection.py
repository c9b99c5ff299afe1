"""Which samples count: pure functions over records, without NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from bench.data.metrics import Metric
    from bench.data.records import Record
    from bench.plan.cell import Cell


def select(records: Iterable[Record]) -> list[Record]:
    """Return the samples that enter the statistics, in the order of the records.

    If a sample was disturbed and taken again, the undisturbed attempt counts; if every attempt was disturbed, the last
    one does, because leaving out rounds in which the machine was busy would make the figures look better than they are.
    """
    chosen: dict[Hashable, Record] = {}
    for record in records:
        if record.counts:
            key = (record.run, record.machine, record.cell, record.round)
            kept = chosen.get(key)
            if kept is None or (kept.contamination and record.attempt > kept.attempt):
                chosen[key] = record
    return list(chosen.values())


def ratios_by_round(records: Iterable[Record], cell: Cell, reference: Cell, metric: Metric) -> list[float]:
    """Return the metric of a cell divided by its reference's, for each round that has both.

    Args:
        records: one machine's, as ``select`` returns them.
        cell: the numerator.
        reference: the denominator.
        metric: the figure.
    """
    values: dict[Cell, dict[Hashable, float]] = {cell: {}, reference: {}}
    for record in records:
        value = metric.value(record) if record.cell in values else None
        if value is not None:
            values[record.cell][(record.run, record.round)] = value
    mine, theirs = values[cell], values[reference]
    return [mine[key] / theirs[key] for key in mine if theirs.get(key)]
