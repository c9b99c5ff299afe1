"""What a process does one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY, PHASES
from bench.report.document import Prose, Section, Table
from bench.report.tables import by_model, shown, started

if TYPE_CHECKING:
    from bench.report.context import Context

NOTE = "Medians of each phase, one after the other, and of the whole process as a timer outside sees it."
TITLE = "Phases (ms)"


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    keys = (*PHASES, "process_ms", "cpu_s")
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in keys[:-1]), "CPU (s)")
    tables = []
    for name, summaries in by_model(context, started(context)):
        rows = tuple(
            (
                context.name(summary, summaries),
                *(shown(summary, key) for key in keys),
            )
            for summary in summaries
        )
        tables.append(Table(f"{TITLE}: {name}" if name else TITLE, headings, rows))
    return Section(TITLE, (*tables, Prose(NOTE))) if tables else None
