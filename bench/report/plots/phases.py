"""Stacked bars by model: interpreter, init, load, first embedding; every sample's total as a dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.plots.parts.cells import by_model, in_order, names_of, samples_of, series_of
from bench.report.plots.parts.frames import name_panel, name_rows, rows_figure, strip_frame
from bench.report.plots.parts.looks import BLACK, GREY, SKY, VERMILION, YELLOW
from bench.report.plots.parts.texts import add_legend
from bench.report.tables import started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.plots.parts.cells import Samples
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

_PHASES = (
    ("Python start", "python_ms", GREY, ""),
    ("Init: the main thread is busy", "init_ms", VERMILION, "//"),
    ("Load: the main thread is free", "ready_ms", SKY, ""),
    ("First request: the caller waits", "first_embedding_ms", YELLOW, ".."),
)
_EVERY_SAMPLE = "Total of each sample"


MAGNIFIED_FROM = 8.0
"""Where the slowest takes so many times as long as the fastest, the fast ones are drawn again, magnified. Where that is
so among them as well, only the fastest are in full, if they are at least half of all."""


def applies(context: Context) -> bool:
    """Return whether a run has cells with these phases."""
    return bool(started(context))


def draw(context: Context) -> Figure:
    """Return the figure: a panel for each model, and a second one beside it where the fast ones need magnifying."""
    summaries, samples = started(context), samples_of(context)
    groups = by_model(context, summaries)
    series = names_of(context, map(series_of, summaries))
    totals = [(item.median("total_ms") or 0.0) / 1000 for item in summaries]
    ends = [value / 1000 for item in summaries for value in samples.values(item, "total_ms")]
    fast = magnified(totals)
    rows = rows_figure([len(group.items) for group in groups], 2 if fast else 1)
    for group, panes in zip(groups, rows.panes, strict=False):
        for axes in panes:
            _draw_bars(axes, group.items, samples)
        name_rows(panes[0], [series[series_of(item)] for item in group.items], rows.font_points)
        if len(groups) > 1:
            name_panel(panes[0], group.title)
    rows.panes[-1][0].set_xlim(0, 1.03 * max([*ends, *map(_length, summaries)], default=0.0) or 1.0)
    rows.panes[-1][0].set_xlabel("Seconds since process start (medians of the phases)")
    if fast:
        rows.panes[-1][1].set_xlim(0, 1.5 * max(fast))
        rows.panes[-1][1].set_xlabel("The same, magnified")
    handles, labels = rows.panes[0][0].get_legend_handles_labels()
    add_legend(rows.figure, handles, labels)
    return rows.figure


def magnified(totals: Sequence[float]) -> list[float]:
    """Return the totals, in any unit, that the magnified column shows in full."""
    fast = _much_faster(totals)
    while 2 * len(fastest := _much_faster(fast)) >= max(len(totals), 1):
        fast = fastest
    return fast


def _much_faster(totals: Sequence[float]) -> list[float]:
    return [total for total in totals if 0.0 < total <= max(totals) / MAGNIFIED_FROM]


def _draw_bars(axes: Axes, summaries: Sequence[CellSummary], samples: Samples) -> None:
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
            edgecolor=BLACK,
            linewidth=0.6,
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    dots = {"linestyle": "", "marker": "o", "markersize": 3.5, "color": BLACK, "alpha": 0.6}
    for position, summary in zip(positions, summaries, strict=True):
        seconds = [value / 1000 for value in samples.values(summary, "total_ms")]
        axes.plot(seconds, [position + place for place in in_order(len(seconds), 0.2)], **dots)
    axes.plot([], [], **dots, label=_EVERY_SAMPLE)
    strip_frame(axes)


def _length(summary: CellSummary) -> float:
    """Return the length of a bar."""
    return sum(_seconds(summary, key) for _, key, _, _ in _PHASES)


def _seconds(summary: CellSummary, key: str) -> float:
    """Return the median length of a phase: medians need not add up to the median of the total."""
    return max(summary.median(key) or 0.0, 0.0) / 1000
