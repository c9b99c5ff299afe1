"""Which cells and samples a picture shows, grouped by model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.data.metrics import METRICS_BY_KEY
from bench.plan.cell import Cell
from bench.report.plots.parts.texts import drawable_text
from bench.stats.context import OfCell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.data.records import Record
    from bench.stats.context import Context

Item = TypeVar("Item", bound=OfCell)


@dataclass(frozen=True)
class Group(Generic[Item]):
    """The cells of one model.

    Attributes:
        model: what the cells name it.
        title: a short name, fit to be drawn.
        items: their summaries or records, in the order of the plan.
    """

    model: str
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Series:
    """What a cell has in common with the same strategy on other models; see ``series_of``."""

    cell: Cell
    machine: str


def series_of(item: OfCell, *, across_scenarios: bool = False) -> Series:
    """Return the series of a cell: the cell without its model, and, if asked for, without its scenario."""
    cell = replace(item.cell, model="", model_key="")
    if across_scenarios:
        cell = replace(cell, scenario="", think_s=0.0, think_kind="")
    return Series(cell, item.machine)


def names_of(context: Context, series: Iterable[Series]) -> dict[Series, str]:
    """Return a name for each series that tells it from the others, fit to be drawn."""
    found = list(dict.fromkeys(series))
    return {one: drawable_text(context.name(one, found)) for one in found}


def name_with_model(context: Context, name: str, item: OfCell) -> str:
    """Return the name of a cell, with its model if the run has several."""
    return f"{name}, {model_title(context, item.cell.model)}" if len(context.models) > 1 else name


def model_title(context: Context, model: str) -> str:
    """Return what a model is called, fit to be drawn."""
    return drawable_text(context.models.get(model) or model)


def by_model(context: Context, items: Iterable[Item]) -> list[Group[Item]]:
    """Return the items by model, in the order of the tables."""
    groups: dict[str, list[Item]] = {model: [] for model in context.models}
    for item in items:
        groups[item.cell.model].append(item)
    return [Group(model, model_title(context, model), tuple(found)) for model, found in groups.items() if found]


@dataclass(frozen=True)
class Samples:
    """The samples of the run, by cell: looked up often, chosen once."""

    by_cell: Mapping[tuple[Cell, str], Sequence[Record]]

    def values(self, item: OfCell, key: str) -> list[float]:
        """Return a metric of the counted samples of a cell that have it, in the order of the records."""
        return [value for record in self.of(item) if (value := figure(record, key)) is not None]

    def of(self, item: OfCell) -> Sequence[Record]:
        """Return the counted samples of a cell."""
        return self.by_cell.get((item.cell, item.machine), ())


def samples_of(context: Context) -> Samples:
    """Return the counted samples of a run by cell."""
    return _samples(context.chosen)


def replaced_of(context: Context) -> Samples:
    """Return the samples that were disturbed and do not count because they were taken again, by cell."""
    chosen = {id(record) for record in context.chosen}
    return _samples(record for record in context.records if record.counts and id(record) not in chosen)


def _samples(records: Iterable[Record]) -> Samples:
    by_cell: dict[tuple[Cell, str], list[Record]] = {}
    for record in records:
        by_cell.setdefault((record.cell, record.machine), []).append(record)
    return Samples(by_cell)


def figure(record: Record, key: str) -> float | None:
    """Return a metric of a sample; None where it has none that could be drawn."""
    value = METRICS_BY_KEY[key].value(record)
    return value if value is not None and math.isfinite(value) else None


def in_order(count: int, half: float) -> list[float]:
    """Return places for samples beside each other, in their order: from ``-half`` to ``half``, one alone at 0."""
    if count < 2:
        return [0.0] * count
    return [half * (2 * number / (count - 1) - 1) for number in range(count)]
