"""Figures and their panels: rows for cells below each other, or a grid of panels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_HIGHEST_INCHES = 9.6
"""For all rows of a picture together; the rest of it adds less than two inches, at 150 pixels each."""
_LEAST_INCHES = 0.09
"""For a row, however many there are."""
_POINTS_PER_INCH = 72


@dataclass(frozen=True)
class Rows:
    """A figure with rows in groups: ``panes[group][column]``."""

    figure: Figure
    panes: Sequence[Sequence[Axes]]
    font_points: float


def rows_figure(
    sizes: Sequence[int],
    columns: int = 1,
    *,
    shared: bool = True,
    most_inches: float = 0.55,
    overhead_inches: float = 1.6,
) -> Rows:
    """Return a figure for rows in groups of these sizes, in panels below each other.

    Rows grow narrower where there are many: the picture stays below 1,800 pixels for about 100 rows.

    Args:
        sizes: how many rows each group has.
        columns: panels beside each other for each group.
        shared: whether the panels of a column have the same x axis.
        most_inches: the height of a row where there are few.
        overhead_inches: the height of all that is no row.
    """
    total = max(sum(sizes), 1)
    height = min(max(_HIGHEST_INCHES / (total + len(sizes)), _LEAST_INCHES), most_inches)
    inches = overhead_inches + height * (total + max(len(sizes) - 1, 0))
    figure = Figure(figsize=(9 + 4 * (columns - 1), inches), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)
    panes = figure.subplots(
        max(len(sizes), 1),
        columns,
        sharex="col" if shared else False,
        sharey="row",
        squeeze=False,
        height_ratios=[max(size, 1) for size in sizes] or [1],
    )
    return Rows(figure, panes, min(10.0, height * _POINTS_PER_INCH * 0.9))


def name_rows(axes: Axes, names: Sequence[str], font_points: float, *, font: str = "sans-serif") -> None:
    """Write the names of the rows beside them, the first at the top."""
    axes.set_yticks(range(len(names)), names, parse_math=False, fontsize=font_points, fontfamily=font)
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)


def name_panel(axes: Axes, title: str) -> None:
    """Write what a panel shows above it."""
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold", parse_math=False)


def strip_frame(axes: Axes) -> None:
    """Leave the two sides of the frame that carry ticks."""
    axes.spines[["top", "right"]].set_visible(False)


def grid_figure(panels: int, *, panel_inches: tuple[float, float], columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels, and its axes row by row."""
    count = max(panels, 1)
    wide = min(count, columns)
    high = math.ceil(count / wide)
    width = max(panel_inches[0] * wide, 7.0)
    figure = Figure(figsize=(width, panel_inches[1] * high + 0.8), layout="constrained")
    axes = [one for row in figure.subplots(high, wide, squeeze=False) for one in row]
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def fixed_grid(panels: int, *, panel_inches: tuple[float, float], columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels of exactly this size, whatever their ticks and labels take, and its axes row by row.

    Args:
        panels: how many; a multiple of the columns if there are more.
        panel_inches: the size of each.
        columns: panels beside each other at most.
    """
    left, right, below, above, legend = 0.8, 0.15, 0.6, 0.35, 0.45
    wide, high = min(panels, columns), math.ceil(panels / columns)
    width = wide * (left + panel_inches[0] + right)
    height = high * (below + panel_inches[1] + above) + legend
    figure = Figure(figsize=(width, height))
    margins = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": (legend + below) / height,
        "top": 1 - above / height,
        "wspace": (left + right) / panel_inches[0],
        "hspace": (below + above) / panel_inches[1],
    }
    return figure, list(figure.subplots(high, wide, squeeze=False, gridspec_kw=margins).flat)


def size_points(axes: Axes) -> tuple[float, float]:
    """Return the width and height of a panel of ``fixed_grid``, which are known before the figure is drawn."""
    scale = _POINTS_PER_INCH / axes.figure.dpi
    return axes.bbox.width * scale, axes.bbox.height * scale
