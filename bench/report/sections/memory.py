"""The specification's memory table, start-up against memory, and memory over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.plots import pictures
from bench.report.tables import memory_tables

if TYPE_CHECKING:
    from bench.report.context import Context

NOTE = (
    "Kernel counters of the same processes. File-mapped pages (weights, shared libraries) exist once however many "
    "processes map them; anonymous memory is each process's own."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    tables = memory_tables(context)
    if not tables:
        return None
    return Section("Memory usage (MiB)", (*tables, Prose(NOTE), *pictures(context, "pareto", "memory_timeline")))
