"""Stacked bars: which packages each cell's import time goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.plots.parts.frames import name_panel, name_rows, rows_figure, strip_frame
from bench.report.plots.parts.looks import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, WHITE, YELLOW
from bench.report.plots.parts.texts import add_legend, drawable_text
from bench.report.plots.phases import MAGNIFIED_FROM
from bench.report.profiles import OTHERS, fold, imports_of, leading_packages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.stats.context import Context

# White instead of Okabe and Ito's black, which would hide the hatch and outweigh the rest.
_STYLES = (
    (VERMILION, "//"),
    (SKY, ""),
    (YELLOW, ".."),
    (BLUE, "\\\\"),
    (ORANGE, "xx"),
    (GREEN, "--"),
    (PURPLE, "oo"),
    (WHITE, "++"),
)
_OTHERS_STYLE = (GREY, "")


def applies(context: Context) -> bool:
    """Return whether the run has what the picture shows."""
    return any(time_ms > 0 for cell in imports_of(context) for time_ms in cell.times_ms.values())


def draw(context: Context) -> Figure:
    """Return the figure: a panel for each model, and a second one beside it where the fast ones need magnifying."""
    order = list(context.models.values())
    cells = sorted(imports_of(context), key=lambda cell: order.index(cell.model) if cell.model else 0)
    packages = leading_packages(cells, at_most=len(_STYLES))
    bars = [fold(cell.times_ms, packages) for cell in cells]
    totals = [sum(max(time_ms, 0.0) for time_ms in bar.values()) / 1000 for bar in bars]
    fast = [total for total in totals if 0 < total <= max(totals, default=0.0) / MAGNIFIED_FROM]
    models = {cell.model: [place for place, other in enumerate(cells) if other.model == cell.model] for cell in cells}
    rows = rows_figure([len(places) for places in models.values()], 2 if fast else 1, overhead_inches=2.0)
    for (model, places), panes in zip(models.items(), rows.panes, strict=False):
        for axes in panes:
            _draw_bars(axes, [bars[place] for place in places], packages)
        name_rows(panes[0], [drawable_text(cells[place].name) for place in places], rows.font_points)
        if model:
            name_panel(panes[0], drawable_text(model))
    below = rows.panes[-1]
    below[0].set_xlim(0, 1.05 * max(totals, default=0.0) or 1.0)
    below[0].set_xlabel("Import time by package, in seconds (one sample under -X importtime)")
    if fast:
        below[1].set_xlim(0, 1.5 * max(fast))
        below[1].set_xlabel("The same, magnified")
    add_legend(rows.figure, rows.panes[0][0].containers, [*map(drawable_text, packages), OTHERS])
    return rows.figure


def _draw_bars(axes: Axes, bars: list[dict[str, float]], packages: list[str]) -> None:
    positions = range(len(bars))
    left = [0.0] * len(bars)
    for package, (colour, hatch) in zip((*packages, OTHERS), (*_STYLES[: len(packages)], _OTHERS_STYLE), strict=True):
        widths = [
            max(bar[package], 0.0) / 1000 for bar in bars
        ]  # see bench.measure.profiles.importtime on negative times
        axes.barh(positions, widths, left=left, height=0.6, color=colour, hatch=hatch, edgecolor=BLACK, linewidth=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    strip_frame(axes)
