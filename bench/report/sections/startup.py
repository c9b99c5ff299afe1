"""The specification's startup table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import startup_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    table = startup_table(context)
    if not table.rows:
        return ""
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Medians of fresh processes, measured in interleaved rounds. Ratio: a strategy's total divided by the "
        "reference's in the same round, median over the rounds. The columns are explained at the end."
    )
