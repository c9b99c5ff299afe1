"""The specification's third table: what the user of a program notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.plots import pictures
from bench.report.tables import experience_tables, waiting_tables

if TYPE_CHECKING:
    from bench.stats.context import Context

NOTE = (
    "Medians. *Results*: a whole program, from its start to its first line of output. *Init*: how long the program is "
    "blocked before its other work. *Wait*: from the request to the vector, either with the model ready or after that "
    "work. *Stalls*: delays that loading causes in that work; the sum counts those of at least 2 ms. *CPU*: CPU time "
    "of all threads, including that work."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    tables = experience_tables(context)
    if not tables:
        return None
    return Section(
        "Startup experience", (*tables, Prose(NOTE), *waiting_tables(context), *pictures(context, "waiting"))
    )
