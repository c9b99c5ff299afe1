"""A trend as a picture: commits from left to right, every sample a dot, medians with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.history.runs import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from bench.history.order import Position
    from bench.history.sheets import Sheet
    from bench.history.trends import Point, Trend

# Okabe and Ito's colours, safe for colour-blind readers; in black and white the shapes and sizes tell them apart.
_MEDIAN, _UP, _DOWN, _SAMPLE = "#0072B2", "#D55E00", "#009E73", "#777777"
_MARKS = {"up": ("^", _UP), "down": ("v", _DOWN)}

MAX_LABELS = 40
"""With more commits than this, not every commit is labelled."""

_WIDEST = 16.0
_AROUND = 0.05
_OUTLIER = 2.0
"""Multiple of the highest median or interval end above which a sample is drawn as an arrow at the edge."""

_DOTS_SHARE, _RUNS_SHARE = 0.5, 0.7
"""The share of a run's place that its dots take, and the share of a commit's place that its runs take."""


def draw(sheet: Sheet, tolerance: float) -> Figure:
    """Return the figure; ``tolerance`` is the limit of marks, for the legend."""
    group, trend = sheet.group, sheet.trend
    count = len(group.positions)
    figure = Figure(figsize=(min(max(6.5, 3.0 + 0.7 * count), _WIDEST), 4.8), layout="constrained")
    axes = figure.add_subplot()
    places = _places(trend.points)
    width = min(_RUNS_SHARE / max((len(position.runs) for position in group.positions), default=1), 0.4)
    top = _top(trend.points)
    for point, x in zip(trend.points, places, strict=True):
        _draw_samples(axes, point, x, width * _DOTS_SHARE, top)
    _draw_medians(axes, trend.points, places)
    _widen(axes, trend.points)
    _mark_changes(axes, trend, places)
    _label(axes, group.positions)
    axes.set_title(sheet.title, parse_math=False, fontsize="medium", loc="left", pad=24)
    axes.set_ylabel(printable(trend.axis), parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    _add_legend(figure, trend, tolerance)
    return figure


def _places(points: Sequence[Point]) -> list[float]:
    """Return each point's place: runs of one commit side by side around it."""
    places = []
    for point in points:
        runs = point.position.runs
        nth = next(number for number, run in enumerate(runs) if run is point.run)
        places.append(point.place + _RUNS_SHARE * ((nth + 0.5) / len(runs) - 0.5))
    return places


def _top(points: Sequence[Point]) -> float:
    """Return the upper limit for samples: one that was delayed by seconds would flatten all others to a line."""
    ends = [point.interval.high if point.interval else point.median for point in points if point.median is not None]
    return _OUTLIER * max((end for end in ends if end is not None), default=0.0)


def _is_above(point: Point, top: float) -> bool:
    return any(value > top > 0.0 for value in point.values.values())


def _draw_samples(axes: Axes, point: Point, x: float, width: float, top: float) -> None:
    values = [value for _, value in sorted(point.values.items())]
    across = axes.get_xaxis_transform()
    if not values:
        # A run without valid samples must not look as if it had not taken place.
        axes.plot([x], [0.02], marker="x", color="black", transform=across, clip_on=False)
        return
    # In the order of the rounds, so that a machine that changed during the run is visible.
    spread = [x + width * ((number + 0.5) / len(values) - 0.5) for number in range(len(values))]
    style = {"linestyle": "", "color": _SAMPLE, "alpha": 0.7, "zorder": 2}
    inside = [(where, value) for where, value in zip(spread, values, strict=True) if not value > top > 0.0]
    axes.plot([where for where, _ in inside], [value for _, value in inside], marker="o", markersize=2.5, **style)
    above = [where for where, value in zip(spread, values, strict=True) if value > top > 0.0]
    axes.plot(above, [0.985] * len(above), marker="$\\uparrow$", markersize=6, transform=across, **style)


def _widen(axes: Axes, points: Sequence[Point]) -> None:
    """Show at least some percent on either side: a negligible difference must not fill the picture."""
    medians = [point.median for point in points if point.median is not None]
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, min(medians) * (1.0 - _AROUND)), max(high, max(medians) * (1.0 + _AROUND)))


def _draw_medians(axes: Axes, points: Sequence[Point], places: Sequence[float]) -> None:
    drawn = [
        (x, point.median, point.interval) for x, point in zip(places, points, strict=True) if point.median is not None
    ]
    axes.plot([x for x, *_ in drawn], [median for _, median, _ in drawn], color=_MEDIAN, linewidth=1.0, zorder=3)
    for x, median, interval in drawn:
        if interval is not None:
            below, above = median - interval.low, interval.high - median
            axes.errorbar(
                [x],
                [median],
                yerr=[[below], [above]],
                color=_MEDIAN,
                linewidth=2.0,
                capsize=min(5.0, 120.0 / len(points)),
                capthick=2.0,
                zorder=4,
            )
        face = _MEDIAN if interval is not None else "white"
        axes.plot([x], [median], marker="s", markersize=6, color=_MEDIAN, markerfacecolor=face, zorder=5)


def _mark_changes(axes: Axes, trend: Trend, places: Sequence[float]) -> None:
    """Draw the mark at the upper edge, where no sample hides it."""
    for change in trend.changes:
        if change.mark not in _MARKS:
            continue
        shape, colour = _MARKS[change.mark]
        x, across = places[change.point], axes.get_xaxis_transform()
        axes.plot(
            [x],
            [1.02],
            marker=shape,
            markersize=9,
            color=colour,
            markeredgecolor="black",
            transform=across,
            clip_on=False,
        )
        axes.annotate(
            f"{(change.shift.ratio - 1.0) * 100:+.0f} %",
            (x, 1.04),
            xycoords=across,
            ha="center",
            va="bottom",
            fontsize="small",
        )
        axes.axvline(x, color=colour, linewidth=0.8, linestyle=":", zorder=1)


def _label(axes: Axes, positions: Sequence[Position]) -> None:
    step = -(-len(positions) // MAX_LABELS)
    # The newest commit is always labelled.
    shown = [place for place in range(len(positions)) if (len(positions) - 1 - place) % step == 0]
    axes.set_xticks(range(len(positions)), minor=True)
    axes.set_xticks(
        shown,
        [f"{printable(positions[place].name)}\n{_day(positions[place])}" for place in shown],
        rotation=90 if len(positions) > 8 else 0,
        fontsize="small",
        parse_math=False,
    )
    axes.set_xlim(-0.6, len(positions) - 0.4)
    axes.set_xlabel(
        "Commits, oldest first" if any(each.is_placed_by_commit for each in positions) else "Runs, oldest first"
    )


def _day(position: Position) -> str:
    if position.time is None:
        return "no date"
    day = f"{position.time:%Y-%m-%d}"
    return day if position.is_placed_by_commit else f"run {day}"


def _add_legend(figure: Figure, trend: Trend, tolerance: float) -> None:
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=3, color=_SAMPLE, label="a sample"),
        Line2D([], [], color=_MEDIAN, marker="s", markersize=6, label="median of a run, 95 % interval"),
    ]
    if any(point.median is not None and point.interval is None for point in trend.points):
        label = "median of a run, too few samples for an interval"
        handles.append(Line2D([], [], color=_MEDIAN, marker="s", markersize=6, markerfacecolor="white", label=label))
    if any(_is_above(point, _top(trend.points)) for point in trend.points):
        handles.append(
            Line2D([], [], linestyle="", marker="$\\uparrow$", color=_SAMPLE, label="a sample above the edge")
        )
    if not all(point.values for point in trend.points):
        handles.append(Line2D([], [], linestyle="", marker="x", color="black", label="no sample with this figure"))
    for mark, (shape, colour) in _MARKS.items():
        if any(change.mark == mark for change in trend.changes):
            label = f"{mark} by more than {tolerance * 100:.3g} % since the previous run"
            handles.append(
                Line2D(
                    [], [], linestyle="", marker=shape, color=colour, markeredgecolor="black", markersize=8, label=label
                )
            )
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
