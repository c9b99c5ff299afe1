"""The memory of several processes that use the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.tables import concurrent_tables

if TYPE_CHECKING:
    from bench.stats.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without that scenario."""
    tables = concurrent_tables(context)
    if not tables:
        return None
    counts = sorted({summary.cell.processes for summary in context.in_scenarios("concurrent")})
    note = (
        f"{' or '.join(map(str, counts))} processes run at the same time, and each has embedded a text. *Together* is "
        "the sum of their proportional set sizes, so a shared page counts once."
    )
    return Section("Memory of several processes (MiB)", (*tables, Prose(note)))
