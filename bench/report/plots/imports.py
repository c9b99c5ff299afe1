"""Stacked bars: which packages each cell's import time goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from bench.report.plots.phases import MAGNIFIED_FROM
from bench.report.profiles import OTHERS, fold, imports_of, leading_packages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report.context import Context

# Okabe and Ito's colours, safe for colour-blind readers, with hatches for black and white; white instead of their
# black, which would hide the hatch and outweigh the rest.
_STYLES = (
    ("#D55E00", "//"),
    ("#56B4E9", ""),
    ("#F0E442", ".."),
    ("#0072B2", "\\\\"),
    ("#E69F00", "xx"),
    ("#009E73", "--"),
    ("#CC79A7", "oo"),
    ("#FFFFFF", "++"),
)
_OTHERS_STYLE = ("#999999", "")


def applies(context: Context) -> bool:
    """Return whether the run has what the picture shows."""
    return any(time_ms > 0 for cell in imports_of(context) for time_ms in cell.times_ms.values())


def draw(context: Context) -> Figure:
    """Return the figure."""
    cells = imports_of(context)
    packages = leading_packages(cells, at_most=len(_STYLES))
    bars = [fold(cell.times_ms, packages) for cell in cells]
    totals = [sum(max(time_ms, 0.0) for time_ms in bar.values()) / 1000 for bar in bars]
    fast = [total for total in totals if 0 < total <= max(totals, default=0.0) / MAGNIFIED_FROM]
    panels = 2 if fast else 1
    figure = Figure(figsize=(9 + 4 * (panels - 1), 2.0 + 0.55 * len(bars)), layout="constrained")
    panes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in panes:
        _draw_bars(axes, bars, packages)
    panes[0].set_yticks(range(len(bars)), [cell.name for cell in cells], parse_math=False)
    panes[0].invert_yaxis()
    panes[0].set_xlabel("Seconds of import, by package (one sample under -X importtime)")
    if fast:
        panes[1].set_xlim(0, 1.5 * max(fast))
        panes[1].set_xlabel("The same, magnified")
    _add_legend(figure, panes[0], [*packages, OTHERS])
    return figure


def _draw_bars(axes: Axes, bars: list[dict[str, float]], packages: list[str]) -> None:
    positions = range(len(bars))
    left = [0.0] * len(bars)
    for package, (colour, hatch) in zip((*packages, OTHERS), (*_STYLES[: len(packages)], _OTHERS_STYLE), strict=True):
        widths = [max(bar[package], 0.0) / 1000 for bar in bars]  # see bench.profiles.importtime on negative times
        axes.barh(positions, widths, left=left, height=0.6, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Figure, axes: Axes, packages: list[str]) -> None:
    """Name the segments; names are set afterwards because Matplotlib leaves out labels that begin with "_"."""
    places = [str(number) for number in range(len(packages))]
    legend = figure.legend(
        axes.containers, places, loc="outside lower center", ncols=5, frameon=False, fontsize="small"
    )
    for text, package in zip(legend.get_texts(), packages, strict=True):
        text.set_parse_math(False)
        text.set_text(package)
