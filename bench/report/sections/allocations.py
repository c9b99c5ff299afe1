"""Who holds the memory where a cell holds most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import METRICS_BY_KEY, MIB
from bench.report.document import Link, Prose, Section, Table, escape
from bench.report.profiles import profiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.records import Record
    from bench.stats.context import Context

_ALLOCATORS, _FRAMES = 3, 3
"""How many are named for each cell."""

NOTE = (
    "From one extra sample of each cell under memray, which counts mapped files as heap and slows the load. The Peak "
    "above is the kernel's (VmHWM)."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without this pass."""
    records = [record for record in profiled(context, "memray") if "allocations" in record.facts]
    if not records:
        return None
    table = _allocation_table(context, records)
    first = [record for record in records if record.cell.model == records[0].cell.model]
    return Section(table.title, (table, Prose(_note(context, first)), _frame_table(context, first)))


def _note(context: Context, shown: Sequence[Record]) -> str:
    """Return what the tables are, and of which model the second one is."""
    of_model = f" of {escape(context.models[shown[0].cell.model])}" if len(context.models) > 1 else ""
    return f"{NOTE} The innermost Python frames that held the most memory, by cell{of_model}:"


def _allocation_table(context: Context, records: Sequence[Record]) -> Table:
    rows = []
    for record in records:
        allocations = record.facts["allocations"]
        by_size = sorted(allocations["by_allocator"].items(), key=lambda item: (-item[1], item[0]))
        largest = ", ".join(f"{name} {_mib(size)}" for name, size in by_size[:_ALLOCATORS])
        rows.append((context.name(record, records), _mib(allocations["high_water_bytes"]), largest))
    headings: tuple[str, ...] = ("Strategy", "High-water mark", "Largest allocators")
    links = [_flame_graph(context, record) for record in records]
    if any(links):
        headings = (*headings, "Flame graph")
        return Table(
            "Allocations (MiB)", headings, tuple((*r, link or "-") for r, link in zip(rows, links, strict=True))
        )
    return Table("Allocations (MiB)", headings, tuple(rows))


def _flame_graph(context: Context, record: Record) -> Link | None:
    file = str(record.facts.get("flame_graph") or "")
    place = (context.flame_graphs or {}).get(record.run)
    return Link("flame graph", f"{place}/{file}" if place != "." else file) if file and place is not None else None


def _frame_table(context: Context, records: Sequence[Record]) -> Table:
    rows = tuple(
        (context.name(record, records), str(frame["frame"]), _mib(frame["bytes"]), f"{frame['allocations']:,}")
        for record in records
        for frame in record.facts["allocations"]["top_frames"][:_FRAMES]
    )
    return Table("Largest frames", ("Strategy", "Innermost Python frame", "MiB", "Allocations"), rows, names=2)


def _mib(size_bytes: int) -> str:
    return METRICS_BY_KEY["peak_mib"].show(size_bytes / MIB, unit=False)
