"""Stacked bars: interpreter, init, load, first embedding; every sample's total as a dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from bench.metrics import METRICS_BY_KEY
from bench.report.tables import started

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report.context import Context
    from bench.stats import CellSummary

# Okabe and Ito's colours, safe for colour-blind readers, with hatches for black and white.
_PHASES = (
    ("Python start", "python", "#999999", ""),
    ("Init: the main thread is busy", "init_ms", "#D55E00", "//"),
    ("Load: the main thread is free", "ready_ms", "#56B4E9", ""),
    ("First request: the caller waits", "first_embedding_ms", "#F0E442", ".."),
)


MAGNIFIED_FROM = 8.0
"""Where the slowest takes so many times as long as the fastest, the fast ones are drawn again, magnified."""


def applies(context: Context) -> bool:
    """Return whether a run has cells with these phases."""
    return bool(started(context))


def draw(context: Context) -> Figure:
    """Return the figure."""
    summaries = started(context)
    totals = [(summary.median("total_ms") or 0.0) / 1000 for summary in summaries]
    fast = [total for total in totals if total <= max(totals) / MAGNIFIED_FROM]
    panels = 2 if fast else 1
    figure = Figure(figsize=(9 + 4 * (panels - 1), 1.6 + 0.55 * len(summaries)), layout="constrained")
    panes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in panes:
        _draw_bars(context, axes)
    positions = range(len(summaries))
    panes[0].set_yticks(positions, [context.name(summary, summaries) for summary in summaries], parse_math=False)
    panes[0].invert_yaxis()
    panes[0].set_xlabel("Seconds since process start (medians of the phases)")
    if fast:
        panes[1].set_xlim(0, 1.5 * max(fast))
        panes[1].set_xlabel("The same, magnified")
    handles, labels = panes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _draw_bars(context: Context, axes: Axes) -> None:
    summaries = started(context)
    positions = range(len(summaries))
    left = [0.0] * len(summaries)
    for label, key, colour, hatch in _PHASES:
        widths = [_seconds(summary, key) for summary in summaries]
        axes.barh(
            positions,
            widths,
            left=left,
            height=0.6,
            label=label,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    total = METRICS_BY_KEY["total_ms"]
    for position, summary in zip(positions, summaries, strict=True):
        values = [total.value(r) for r in context.chosen if (r.cell, r.machine) == (summary.cell, summary.machine)]
        seconds = [value / 1000 for value in values if value is not None]
        axes.plot(seconds, [position] * len(seconds), linestyle="", marker="o", markersize=4, color="black", alpha=0.6)
    axes.plot([], [], linestyle="", marker="o", markersize=4, color="black", alpha=0.6, label="Total of each sample")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _seconds(summary: CellSummary, key: str) -> float:
    """Return the median length of a phase; the start of Python is what the others leave of the total."""
    if key == "python":
        total = summary.median("total_ms") or 0.0
        return max(total - sum(summary.median(other) or 0.0 for _, other, _, _ in _PHASES[1:]), 0.0) / 1000
    return (summary.median(key) or 0.0) / 1000
