"""What the profiling passes of a run recorded, see ``bench.measure.profiles``; one sample a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from bench.plan.cell import as_watched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.data.records import Record
    from bench.stats.context import Context, OfCell

MIN_SHARE = 0.01
"""A package that takes no such share of any cell's import time is one of the others."""

OTHERS = "others"


@dataclass(frozen=True)
class CellImports:
    """The imports of one cell.

    Attributes:
        name: among the cells of the same model.
        model: what the model is called, "" if the run has only one.
        times_ms: milliseconds of self time by package.
    """

    name: str
    model: str
    times_ms: Mapping[str, float]


@dataclass(frozen=True)
class MemoryPoint:
    """Resident memory at one moment: nanoseconds since the spawn, and bytes by kind."""

    time_ns: float
    anonymous_bytes: float
    file_mapped_bytes: float


@dataclass(frozen=True)
class Import:
    """One import, in microseconds of import time; those of threads that import at once may be odd."""

    name: str
    depth: int
    start_us: float
    self_us: float
    cumulative_us: float


def profiled(context: Context, instrument: str) -> list[Record]:
    """Return the ``ok`` record that each cell has of an instrument; the last, where it was measured again.

    They are in the order of the summaries.
    """
    found = [record for record in context.records if record.instrument == instrument and record.status == "ok"]
    last = {(record.machine, record.cell): record for record in found}
    order = dict.fromkeys((summary.machine, as_watched(summary.cell)) for summary in context.summaries)
    return [last[key] for key in dict.fromkeys([*order, *last]) if key in last]


def imports_of(context: Context) -> list[CellImports]:
    """Return the imports of each cell of that pass."""
    records = [record for record in profiled(context, "importtime") if record.facts.get("imports")]
    return [
        CellImports(
            context.name(record, [other for other in records if other.cell.model == record.cell.model]),
            context.models[record.cell.model] if len(context.models) > 1 else "",
            {str(cost["package"]): cost["self_us"] / 1000 for cost in record.facts["imports"]},
        )
        for record in records
    ]


def imports_of_cell(context: Context, item: OfCell) -> dict[str, float]:
    """Return milliseconds of self time by package of one cell, empty if that was not looked at."""
    for record in profiled(context, "importtime"):
        if (record.cell, record.machine) == (as_watched(item.cell), item.machine):
            return {str(cost["package"]): cost["self_us"] / 1000 for cost in record.facts.get("imports", ())}
    return {}


def leading_packages(cells: Sequence[CellImports], at_most: int | None = None) -> list[str]:
    """Return the packages to show on their own, the slowest in any cell first.

    Args:
        cells: their imports.
        at_most: how many, those with the largest share of any cell's import time; default: all from ``MIN_SHARE`` on.
    """
    shares: dict[str, float] = {}
    slowest_ms: dict[str, float] = {}
    for cell in cells:
        total_ms = sum(cell.times_ms.values())
        for package, time_ms in cell.times_ms.items():
            shares[package] = max(shares.get(package, 0.0), time_ms / total_ms if total_ms > 0 else 0.0)
            slowest_ms[package] = max(slowest_ms.get(package, 0.0), time_ms)
    leading = sorted((p for p in shares if shares[p] >= MIN_SHARE), key=lambda p: (-shares[p], p))
    return sorted(leading[:at_most], key=lambda p: (-slowest_ms[p], p))


def fold(times_ms: Mapping[str, float], kept: Sequence[str]) -> dict[str, float]:
    """Return the times of the packages to keep, those of all the rest summed as ``OTHERS``."""
    rest = sum(time_ms for package, time_ms in times_ms.items() if package not in kept)
    return {package: times_ms.get(package, 0.0) for package in kept} | {OTHERS: rest}


def of_first_model(context: Context, instrument: str) -> list[Record]:
    """Return what ``profiled`` does, of the run's first model and first machine with such a record."""
    records = profiled(context, instrument)
    return [
        record
        for record in records
        if (record.cell.model, record.machine) == (records[0].cell.model, records[0].machine)
    ]


def memory_timeline_of(record: Record) -> list[MemoryPoint]:
    """Return the memory of a process over time, ascending; entries that are none are left out."""
    found = record.facts.get("memory_timeline") or ()
    points = [
        MemoryPoint(entry[0], max(entry[1], 0), max(entry[2], 0))
        for entry in found
        if len(entry) == 3 and all(map(_is_figure, entry))
    ]
    return sorted(points, key=lambda point: point.time_ns)


def import_tree_of(record: Record) -> list[Import]:
    """Return the imports of a process in order of their start; entries that are none are left out."""
    return [
        Import(
            str(entry.get("name", "")),
            max(int(entry["depth"]), 0),
            entry["start_us"],
            entry["self_us"],
            entry["cumulative_us"],
        )
        for entry in record.facts.get("import_tree") or ()
        if all(_is_figure(entry.get(key)) for key in ("depth", "start_us", "self_us", "cumulative_us"))
    ]


def _is_figure(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
