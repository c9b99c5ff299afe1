"""The specification's third table: what the user of a program notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import experience_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section; nothing for a run without such scenarios."""
    table = experience_table(context)
    if not table.rows:
        return ""
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Medians. *Wait* is the time from the request to its vector, after the program has done other work meanwhile; "
        "*stalls* are what that work suffered because the model was loading. A search is a whole program, from its "
        "start to its first result."
    )
