"""Samples that do not count, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import problem_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    table = problem_table(context)
    compared = [record for record in context.records if record.counts and record.cosines]
    lines = [f"## {table.title}" if table.rows else "## Fidelity"]
    if table.rows:
        lines.append(to_markdown(table))
    if compared:
        lowest = min(min(record.cosines) for record in compared)
        lines.append(
            f"The vectors of all {len(compared)} counted samples equal those of plain sentence-transformers: "
            f"the lowest cosine is {lowest:.7f}."
        )
    elif not table.rows:
        lines.append("No vector was compared with a reference in this run.")
    return "\n\n".join(lines)
