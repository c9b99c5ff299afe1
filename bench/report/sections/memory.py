"""The specification's memory table, start-up against memory, and memory over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.plots import pictures
from bench.report.tables import memory_tables

if TYPE_CHECKING:
    from bench.stats.context import Context

NOTE = (
    "Resident memory of the same processes, as the kernel reports it. File-mapped pages (weights, shared libraries) "
    "are shared by all processes that map them; anonymous memory is private."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    tables = memory_tables(context)
    if not tables:
        return None
    return Section("Memory usage (MiB)", (*tables, Prose(NOTE), *pictures(context, "pareto", "memory_timeline")))
