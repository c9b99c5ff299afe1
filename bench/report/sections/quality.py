"""How good the vectors are for search, if a run of suite=quality is reported together with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.tables import COLUMNS, lowest_texts, task_table, vector_table
from bench.report.document import Prose, Section, dense

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing without such a run."""
    if context.quality is None:
        return None
    tables = [dense(table) for table in (vector_table(context.quality), task_table(context.quality)) if table.rows]
    if not tables:
        return None
    shown = {heading for table in tables for heading in table.headings}
    meanings = "\n".join(f"- **{name}**: {meaning}" for name, meaning in COLUMNS.items() if name in shown)
    return Section("Quality of the vectors", (*tables, Prose(lowest_texts(context.quality)), Prose(meanings)))
