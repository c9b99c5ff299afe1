"""How memory grows: at each mark, what belongs to the process alone and what are pages of files."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.metrics import MIB
from bench.report.tables import Table, started, to_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Record
    from bench.report.context import Context

MARKS = {
    "imported": "Imported",
    "started": "Started",
    "ready": "Ready",
    "first_embedding": "First vector",
    "second_embedding": "Second vector",
}
"""Marks of the worker and their headings."""


def render(context: Context) -> str:
    """Return the section; nothing where the kernel does not tell these figures."""
    summaries = started(context)
    rows = []
    for summary in summaries:
        mine = [record for record in context.chosen if (record.cell, record.machine) == (summary.cell, summary.machine)]
        figures = [_figures(mine, mark) for mark in MARKS]
        if any(figure != "-" for figure in figures):
            rows.append((context.name(summary, summaries), *figures))
    if not rows:
        return ""
    table = Table("Memory at each mark (MiB)", ("Strategy", *MARKS.values()), tuple(rows))
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Anonymous + file-mapped resident memory, then the peak until then; medians."
    )


def _figures(records: Sequence[Record], mark: str) -> str:
    medians = []
    for kind in ("rss_anon_bytes", "rss_file_bytes", "peak_rss_bytes"):
        values = [record.memory[mark][kind] for record in records if kind in record.memory.get(mark, {})]
        if not values:
            return "-"
        medians.append(statistics.median(values) / MIB)
    anonymous, mapped, peak = medians
    return f"{anonymous:.0f} + {mapped:.0f}, peak {peak:.0f}"
