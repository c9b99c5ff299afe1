"""The title, and what the run found in a few sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.fidelity import WITHOUT_VECTORS
from bench.metrics import METRICS_BY_KEY
from bench.report.tables import escape, started

if TYPE_CHECKING:
    from bench.report.context import Context
    from bench.stats import CellSummary


def render(context: Context) -> str:
    """Return the section."""
    lines = ["# What the loading strategies cost"]
    models = sorted({summary.cell.model for summary in context.summaries})
    lines.append(f"Models: {', '.join(escape(model) for model in models)}.")
    if not context.measured:
        lines.append("No cell has a sample that counts: see below.")
    summaries = started(context)
    lines += [f"- {_sentence(summary, escape(context.name(summary, summaries)))}" for summary in summaries]
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])


def _sentence(summary: CellSummary, name: str) -> str:
    def median(key: str) -> str:
        return METRICS_BY_KEY[key].show(summary.median(key))

    name = f"**{name}**"
    if summary.cell.subject in WITHOUT_VECTORS:
        return f"{name} (the floor: nothing is embedded): done {median('total_ms')} after process start."
    if summary.cell.is_peer:
        name = f"{name} (for comparison)"
    total = f"first vector {median('total_ms')} after process start"
    if summary.cell.is_baseline:
        return f"{name} (plain sentence-transformers, the reference): {total}; the program waits for all of it."
    if summary.cell.is_peer:
        return f"{name}: {total}; the program waits for {median('init_ms')} of it."
    if summary.median("ready_ms") is None:
        return f"{name}: {total}; the program goes on after {median('init_ms')}, the first request waits for the load."
    return f"{name}: {total}; the program goes on after {median('init_ms')} while the model loads."
