"""Who holds the memory where a cell holds most."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.metrics import METRICS_BY_KEY, MIB
from bench.report.profiles import profiled
from bench.report.tables import Table, to_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Record
    from bench.report.context import Context

_ALLOCATORS, _FRAMES = 3, 5
"""How many are named for each cell."""


def render(context: Context) -> str:
    """Return the section; nothing for a run without this pass."""
    records = [record for record in profiled(context, "memray") if "allocations" in record.facts]
    if not records:
        return ""
    table = _allocation_table(context, records)
    links = ("Flame graph", "---", *(_link(str(record.facts.get("flame_graph") or "")) for record in records))
    linked = "\n".join(f"{line} {link} |" for line, link in zip(to_markdown(table).splitlines(), links, strict=True))
    note = (
        "From one more sample of each cell under memray, which counts mapped files as heap and slows the load: the "
        "Peak above is the kernel's (VmHWM). By the innermost Python frame, most was held by:"
    )
    return f"## {table.title}\n\n{linked}\n\n{note}\n\n{to_markdown(_frame_table(context, records))}"


def _allocation_table(context: Context, records: Sequence[Record]) -> Table:
    rows = []
    for record in records:
        allocations = record.facts["allocations"]
        by_size = sorted(allocations["by_allocator"].items(), key=lambda item: -item[1])
        largest = ", ".join(f"{name} {_mib(size)}" for name, size in by_size[:_ALLOCATORS])
        rows.append((context.name(record, records), _mib(allocations["high_water_bytes"]), largest))
    return Table("Allocations (MiB)", ("Strategy", "High-water mark", "Largest allocators"), tuple(rows))


def _frame_table(context: Context, records: Sequence[Record]) -> Table:
    rows = tuple(
        (context.name(record, records), str(frame["frame"]), _mib(frame["bytes"]), f"{frame['allocations']:,}")
        for record in records
        for frame in record.facts["allocations"]["top_frames"][:_FRAMES]
    )
    return Table("Frames", ("Strategy", "Innermost Python frame", "MiB", "Allocations"), rows, names=2)


def _mib(size_bytes: int) -> str:
    return METRICS_BY_KEY["peak_mib"].show(size_bytes / MIB, unit=False)


def _link(file: str) -> str:
    """Return a link to a file of the run; what is no plain path comes out quoted."""
    return f"[flame graph]({quote(file)})" if file else "-"
