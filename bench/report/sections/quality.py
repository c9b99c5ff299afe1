"""How good the vectors are for search, if a run of suite=quality is reported together with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section, dense
from bench.report.quality.tables import COLUMNS, lowest_texts, problem_table, task_table, vector_table

if TYPE_CHECKING:
    from bench.stats.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing without such a run."""
    if context.quality is None:
        return None
    found = [make(context.quality) for make in (vector_table, task_table, problem_table)]
    tables = [dense(table) for table in found if table.rows]
    if not tables:
        return None
    shown = {heading for table in tables for heading in table.headings}
    meanings = "\n".join(f"- **{name}**: {meaning}" for name, meaning in COLUMNS.items() if name in shown)
    notes = (Prose(lowest_texts(context.quality)), Prose(meanings)) if context.quality.compared else ()
    return Section("Quality of the vectors", (*tables, *notes))
