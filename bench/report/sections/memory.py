"""The specification's memory table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import memory_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    table = memory_table(context)
    if not table.rows:
        return ""
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Kernel counters of the same processes. File-mapped pages (weights, shared libraries) exist once however many "
        "processes map them; anonymous memory is each process's own."
    )
