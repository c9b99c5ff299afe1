"""The memory of several processes that use the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import concurrent_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section; nothing for a run without that scenario."""
    table = concurrent_table(context)
    if not table.rows:
        return ""
    counts = sorted({summary.cell.processes for summary in context.in_scenarios("concurrent")})
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        f"{' or '.join(map(str, counts))} processes, each with its vectors and none ended: the sum of their "
        "proportional set sizes, in which a page that several processes share counts once."
    )
