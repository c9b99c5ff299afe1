"""Strips: every counted sample of the start-up time, a row for each cell, by model."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from bench.data.metrics import METRICS_BY_KEY, Metric
from bench.plan.cell import COMMAND
from bench.report.plots.parts.cells import by_model, figure, in_order, names_of, replaced_of, samples_of, series_of
from bench.report.plots.parts.frames import name_panel, name_rows, rows_figure, strip_frame
from bench.report.plots.parts.looks import BLACK, GREY, PALE, looks_by_strategy
from bench.report.plots.parts.scales import scale_of
from bench.report.plots.parts.texts import add_legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.data.records import Record
    from bench.report.plots.parts.looks import Look
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

_CHOICES = (
    ("idle", "total_ms"),
    ("at_once", "total_ms"),
    ("think_time", "total_ms"),
    ("search_command", "results_ms"),
    (COMMAND, "process_ms"),
)
"""The scenarios that this picture can show, the first that a run has, and how long each takes."""

_SPREAD = 0.3
"""By how much of a row the first sample stands above its middle, and the last below."""

_DISTURBED = {"linestyle": "", "marker": "x", "color": BLACK, "markersize": 5, "markeredgewidth": 1.2, "zorder": 5}
_REPLACED = {"linestyle": "", "marker": "o", "markerfacecolor": "none", "markeredgecolor": GREY, "markersize": 5}
_MEDIAN = {"color": BLACK, "linewidth": 1.6, "solid_capstyle": "butt", "zorder": 2}


def applies(context: Context) -> bool:
    """Return whether a run has samples of how long a start takes."""
    return bool(_shown(context)[1])


def draw(context: Context) -> Figure:
    """Return the figure: the samples of a row from top to bottom in the order in which they were taken."""
    metric, summaries = _shown(context)
    groups, counted, replaced = by_model(context, summaries), samples_of(context), replaced_of(context)
    names, looks = names_of(context, map(series_of, summaries)), looks_by_strategy(context)
    kept = [record for item in summaries for record in counted.of(item)]
    dropped = [record for item in summaries for record in replaced.of(item)]
    scale = scale_of([value for record in (*kept, *dropped) if (value := figure(record, metric.key)) is not None])
    rows = rows_figure([len(group.items) for group in groups])
    for group, (axes,) in zip(groups, rows.panes, strict=False):
        for position, item in enumerate(group.items):
            _draw_row(axes, position, metric, counted.of(item), looks[item.cell.strategy])
            _dots(axes, position, [figure(record, metric.key) for record in replaced.of(item)], _REPLACED)
        name_rows(axes, [names[series_of(item)] for item in group.items], rows.font_points)
        axes.grid(axis="x", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        strip_frame(axes)
        if len(groups) > 1:
            name_panel(axes, group.title)
    for (axes,) in rows.panes:
        scale.apply(axes, "x")
    kind = ", on a logarithmic scale" if scale.is_log else ""
    rows.panes[-1][0].set_xlabel(f"{metric.title} ({metric.unit}){kind}; warm-up rounds are left out")
    _add_legend(rows.figure, kept, dropped)
    return rows.figure


def _shown(context: Context) -> tuple[Metric, list[CellSummary]]:
    for scenario, key in _CHOICES:
        found = [summary for summary in context.in_scenarios(scenario) if key in summary.spreads]
        if found:
            return METRICS_BY_KEY[key], found
    return METRICS_BY_KEY["total_ms"], []


def _draw_row(axes: Axes, position: int, metric: Metric, records: Sequence[Record], look: Look) -> None:
    values = [figure(record, metric.key) for record in records]
    calm = [None if record.contamination else value for record, value in zip(records, values, strict=True)]
    disturbed = [value if record.contamination else None for record, value in zip(records, values, strict=True)]
    _dots(axes, position, calm, look.sample())
    _dots(axes, position, disturbed, _DISTURBED)
    found = [value for value in values if value is not None]
    if found:
        middle = statistics.median(found)
        axes.plot([middle, middle], [position - 0.42, position + 0.42], **_MEDIAN)


def _dots(axes: Axes, position: int, values: Sequence[float | None], style: dict[str, object]) -> None:
    """Draw values below each other within a row, those that are None left out."""
    places = [position + place for place in in_order(len(values), _SPREAD)]
    shown = [(value, place) for value, place in zip(values, places, strict=True) if value is not None]
    axes.plot([value for value, _ in shown], [place for _, place in shown], **style)


def _add_legend(figure: Figure, kept: Sequence[Record], dropped: Sequence[Record]) -> None:
    sample = Line2D([], [], linestyle="", marker="o", color=GREY, markeredgecolor=BLACK, markersize=5)
    entries = {
        "A sample, with its strategy's marker": sample,
        "The median": Line2D([], [], marker="|", markersize=10, markeredgewidth=1.6, linestyle="", color=BLACK),
    }
    if any(record.contamination for record in kept):
        entries["Disturbed, but counts"] = Line2D([], [], **_DISTURBED)
    if dropped:
        entries["Disturbed and replaced"] = Line2D([], [], **_REPLACED)
    add_legend(figure, list(entries.values()), list(entries))
