"""How memory grows: at each mark, what belongs to the process alone and what are pages of files."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.data.metrics import MIB
from bench.report.document import Prose, Section, Table
from bench.report.tables import cells_by_model, started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.records import Record
    from bench.stats.context import Context

MARKS = {
    "imported": "Imported",
    "started": "Started",
    "ready": "Ready",
    "first_embedding": "First vector",
    "second_embedding": "Second vector",
}
"""Marks of the worker and their headings."""

TITLE = "Memory at each mark (MiB)"


def render(context: Context) -> Section | None:
    """Return the section; nothing where the kernel does not tell these figures."""
    tables = []
    for name, summaries in cells_by_model(context, started(context)):
        rows = []
        for summary in summaries:
            mine = context.of(summary)
            figures = [_figures(mine, mark) for mark in MARKS]
            if any(figure != "-" for figure in figures):
                rows.append((context.name(summary, summaries), *figures))
        if rows:
            tables.append(Table(f"{TITLE}: {name}" if name else TITLE, ("Strategy", *MARKS.values()), tuple(rows)))
    note = Prose("Anonymous + file-mapped resident memory, then the peak so far; medians.")
    return Section(TITLE, (*tables, note)) if tables else None


def _figures(records: Sequence[Record], mark: str) -> str:
    medians = []
    for kind in ("rss_anon_bytes", "rss_file_bytes", "peak_rss_bytes"):
        values = [record.memory[mark][kind] for record in records if kind in record.memory.get(mark, {})]
        if not values:
            return "-"
        medians.append(statistics.median(values) / MIB)
    anonymous, mapped, peak = medians
    return f"{anonymous:.0f} + {mapped:.0f}, peak {peak:.0f}"
