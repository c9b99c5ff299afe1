"""Where the time of a process goes, from its spawn to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY, PHASES
from bench.report.tables import Table, started, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    summaries = started(context)
    if not summaries:
        return ""
    metrics = [METRICS_BY_KEY[key] for key in (*PHASES, "process_ms")]
    rows = tuple(
        (
            context.name(summary, summaries),
            *(metric.show(summary.median(metric.key), unit=False) for metric in metrics),
            METRICS_BY_KEY["cpu_s"].show(summary.median("cpu_s"), unit=False),
        )
        for summary in summaries
    )
    table = Table("Phases (ms)", ("Strategy", *(metric.title for metric in metrics), "CPU (s)"), rows)
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Medians of each phase, one after the other, and of the whole process as a timer outside sees it."
    )
