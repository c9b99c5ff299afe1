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
        "Medians. *Results*: a whole program, from its start to the first line that it prints. *Init*: what the "
        "program waits before it can do its other work. *Wait*: from the request to its vector: once the model is "
        "ready, or after that work. *Stalls*: by how much that work came late because the model was loading (delays "
        "of at least 2 ms). *CPU*: processor seconds of all threads, that work included."
    )
