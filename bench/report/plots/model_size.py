"""Start-up time against the size of the model: a line for each strategy, and every sample."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.data.metrics import MIB
from bench.report.plots.parts.cells import by_model, in_order, names_of, samples_of, series_of
from bench.report.plots.parts.frames import grid_figure, strip_frame
from bench.report.plots.parts.looks import PALE, keys_of, looks_of
from bench.report.plots.parts.scales import scale_of
from bench.report.plots.parts.texts import add_legend
from bench.report.tables import started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.plots.parts.cells import Group, Series
    from bench.report.plots.parts.looks import Look
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary


_WIDE = 3.0
"""Sizes are on a logarithmic scale from so many times the smallest on: a few models differ less than strategies do."""

_ASIDE = 1.04
"""How many times a model's size the last strategy stands at, and the first one below it: sizes must stay readable."""

_ABOVE = {"markerfacecolor": "none", "zorder": 5}
"""Medians are hollow here and above all samples: with so little room beside each other they would be hidden."""


def applies(context: Context) -> bool:
    """Return whether a run has at least two models of known size."""
    return len(_groups(context)) >= 2


def draw(context: Context) -> Figure:
    """Return the figure."""
    groups, samples = _groups(context), samples_of(context)
    by_series: dict[Series, dict[float, list[float]]] = {}
    for group in groups:
        for item in group.items:
            values = samples.values(item, "total_ms")
            if values:
                size = size_mib(context, group.model)
                by_series.setdefault(series_of(item), {}).setdefault(size, []).extend(values)
    names, looks = names_of(context, by_series), looks_of(context, by_series)
    figure, (axes,) = grid_figure(1, panel_inches=(8.0, 5.0))
    across = scale_of([size_mib(context, group.model) for group in groups], wide=_WIDE, margin=0.1)
    aside = _aside(by_series)
    for series, by_size in by_series.items():
        _draw_series(axes, by_size, looks[series], aside[series])
    values = [value for by_size in by_series.values() for found in by_size.values() for value in found]
    scale_of(values).apply(axes, "y")
    across.apply(axes, "x")
    strip_frame(axes)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("Size of the float32 weights (MiB); points that would overlap are moved by up to 4 %")
    axes.set_ylabel("Total (ms)")
    _name_models(axes, context, groups)
    add_legend(figure, keys_of(looks, list(by_series)), list(names.values()))
    return figure


def size_mib(context: Context, model: str) -> float:
    """Return the size of a model's weights, 0 where the manifest does not tell it.

    From ``model_bytes`` if the run recorded it, or else what preparing the model in float32 wrote.
    """
    prepared = {made.model: made.bytes for made in context.manifest.preparations if made.precision == "float32"}
    return (context.manifest.model_bytes.get(model) or prepared.get(model) or 0) / MIB


def _groups(context: Context) -> list[Group[CellSummary]]:
    """Return the models of known size, the smallest first."""
    shown = [summary for summary in started(context) if "total_ms" in summary.spreads]
    groups = [group for group in by_model(context, shown) if size_mib(context, group.model) > 0.0]
    return sorted(groups, key=lambda group: size_mib(context, group.model))


def _aside(by_series: Mapping[Series, Mapping[float, list[float]]]) -> dict[Series, float]:
    """Return by which factor each series stands aside of the size: 1 for those whose samples meet no others."""
    crowded = [
        one
        for one, mine in by_series.items()
        if any(_meet(mine, theirs) for other, theirs in by_series.items() if other != one)
    ]
    factors = [_ASIDE**share for share in in_order(len(crowded), 1.0)]
    return dict.fromkeys(by_series, 1.0) | dict(zip(crowded, factors, strict=True))


def _meet(one: Mapping[float, list[float]], other: Mapping[float, list[float]]) -> bool:
    """Tell whether the samples of two series overlap at a size."""
    return any(min(one[size]) <= max(other[size]) and min(other[size]) <= max(one[size]) for size in {*one} & {*other})


def _draw_series(axes: Axes, by_size: Mapping[float, list[float]], look: Look, aside: float) -> None:
    for size, values in by_size.items():
        axes.plot([size * aside] * len(values), values, **look.sample())
    sizes = sorted(by_size)
    axes.plot(
        [size * aside for size in sizes],
        [statistics.median(by_size[size]) for size in sizes],
        **look.median() | _ABOVE,
    )


def _name_models(axes: Axes, context: Context, groups: list[Group[CellSummary]]) -> None:
    """Write the names of the models above their sizes."""
    above = axes.secondary_xaxis("top")
    above.set_xticks(
        [size_mib(context, group.model) for group in groups],
        [group.title for group in groups],
        parse_math=False,
        rotation=30,
        horizontalalignment="left",
        fontsize="small",
    )
    above.minorticks_off()
    above.spines["top"].set_visible(False)
