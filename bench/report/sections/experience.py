"""The specification's third table: what the user of a program notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.plots import pictures
from bench.report.tables import experience_tables, waiting_tables

if TYPE_CHECKING:
    from bench.report.context import Context

NOTE = (
    "Medians. *Results*: a whole program, from its start to the first line that it prints. *Init*: what the program "
    "waits before it can do its other work. *Wait*: from the request to its vector: once the model is ready, or after "
    "that work. *Stalls*: by how much that work came late because the model was loading (delays of at least 2 ms). "
    "*CPU*: processor seconds of all threads, that work included."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    tables = experience_tables(context)
    if not tables:
        return None
    return Section(
        "Startup experience", (*tables, Prose(NOTE), *waiting_tables(context), *pictures(context, "waiting"))
    )
