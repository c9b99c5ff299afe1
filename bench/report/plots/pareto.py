"""Start-up time against memory, a panel for each model: every sample, the medians, and the front of the best."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from bench.data.fidelity import ANOTHER_MODEL, WITHOUT_VECTORS
from bench.report.plots.parts.cells import by_model, figure, names_of, samples_of, series_of
from bench.report.plots.parts.frames import fixed_grid, name_panel, size_points, strip_frame
from bench.report.plots.parts.labels import Box, distinct, place
from bench.report.plots.parts.looks import BLACK, GREY, WHITE, looks_of
from bench.report.plots.parts.scales import scale_of
from bench.report.plots.parts.texts import add_legend
from bench.report.tables import started

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.plots.parts.cells import Samples
    from bench.report.plots.parts.looks import Look
    from bench.report.plots.parts.scales import Scale
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

_FONT_POINTS = 8.5
_FRONT = {"color": BLACK, "linewidth": 1.1, "linestyle": (0, (5, 2)), "zorder": 2}
_BEHIND_LABEL = {"facecolor": WHITE, "edgecolor": "none", "alpha": 0.8, "pad": 0.5}

_MARGIN = 0.08
"""The share of an axis that is left free at an end, for labels."""

_ELSEWHERE = "magnified at right"

_NEAR = 2.0
"""Cells that take up to so many times as long as the fastest are drawn again, magnified, where others take far longer.
"""


@dataclass(frozen=True)
class _Point:
    """A cell: its samples and their medians, in milliseconds and MiB.

    ``competes`` says whether it is a way to get the model's own vectors: only such are in the front.
    """

    name: str
    look: Look
    samples: Sequence[tuple[float, float]]
    median: tuple[float, float]
    competes: bool


@dataclass(frozen=True)
class _Panel:
    """What a panel shows, and its scales; the points that are magnified beside it are labelled there alone."""

    title: str
    points: Sequence[_Point]
    across: Scale
    up: Scale
    label: str = "Total (ms)"
    magnified: Sequence[_Point] = ()


def applies(context: Context) -> bool:
    """Return whether a run has cells with both times and memory."""
    return bool(_shown(context))


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points for which no other is as small in both figures and smaller in one; by the first figure."""
    best: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def draw(context: Context) -> Figure:
    """Return the figure: a panel for each model, and a second one beside it where the fast ones need magnifying."""
    models = _points(context)
    every = [point for _, points in models for point in points]
    across, up = _scales(every, from_zero=True, margin=_MARGIN)
    panels = [_Panel(title, points, across, up) for title, points in models]
    magnified = [_magnified(panel) for panel in panels]
    panels = [
        replace(panel, magnified=near.points if near else ()) for panel, near in zip(panels, magnified, strict=True)
    ]
    columns = 2 if any(magnified) else 1
    inches = (6.0, 4.4) if len(panels) < 2 else (6.0, 2.7)
    figure, panes = fixed_grid(max(len(panels), 1) * columns, panel_inches=inches, columns=columns)
    shown = [each for pair in zip(panels, magnified, strict=True) for each in pair[:columns]]
    for axes, panel in zip(panes, shown or [None], strict=True):
        if panel is None:
            axes.set_visible(False)
            continue
        _draw_panel(axes, panel, size_points(axes))
        if len(panels) > 1 and panel.title:
            name_panel(axes, panel.title)
    if every:
        _add_legend(figure, has_others=not all(point.competes for point in every))
    return figure


def _shown(context: Context) -> list[CellSummary]:
    return [summary for summary in started(context) if {"total_ms", "peak_mib"} <= set(summary.spreads)]


def _points(context: Context) -> list[tuple[str, list[_Point]]]:
    """Return the title of each model, and its cells."""
    groups, samples = by_model(context, _shown(context)), samples_of(context)
    series = [series_of(item) for group in groups for item in group.items]
    names, looks = names_of(context, series), looks_of(context, series)
    return [
        (
            group.title,
            [
                _Point(
                    names[series_of(item)],
                    looks[series_of(item)],
                    _pairs(samples, item),
                    (item.median("total_ms") or 0.0, item.median("peak_mib") or 0.0),
                    item.cell.subject not in WITHOUT_VECTORS | ANOTHER_MODEL,
                )
                for item in group.items
            ],
        )
        for group in groups
    ]


def _pairs(samples: Samples, item: CellSummary) -> list[tuple[float, float]]:
    """Return both figures of each sample that has both."""
    figures = [(figure(record, "total_ms"), figure(record, "peak_mib")) for record in samples.of(item)]
    return [(total, peak) for total, peak in figures if total is not None and peak is not None]


def _scales(points: Sequence[_Point], *, from_zero: bool, margin: float) -> tuple[Scale, Scale]:
    pairs = [pair for point in points for pair in (*point.samples, point.median)]
    return (
        scale_of([total for total, _ in pairs], from_zero=from_zero, margin=margin),
        scale_of([peak for _, peak in pairs], from_zero=from_zero, margin=margin),
    )


def _magnified(panel: _Panel) -> _Panel | None:
    """Return the panel of the fast cells; None where they are not crowded by slow ones."""
    fastest = min((point.median[0] for point in panel.points if point.competes), default=0.0)
    near = [point for point in panel.points if point.median[0] <= _NEAR * fastest]
    if not panel.across.is_log or not 2 <= len(near) < len(panel.points):
        return None
    return _Panel(
        "", near, *_scales(near, from_zero=False, margin=2 * _MARGIN), label="Total (ms): the fastest, magnified"
    )


def _draw_panel(axes: Axes, panel: _Panel, size: tuple[float, float]) -> None:
    best = front(point.median for point in panel.points if point.competes)
    corners = _corners(best, panel)
    axes.plot([total for total, _ in corners], [peak for _, peak in corners], **_FRONT)
    for point in panel.points:
        axes.plot([total for total, _ in point.samples], [peak for _, peak in point.samples], **point.look.sample())
        axes.plot([point.median[0]], [point.median[1]], **point.look.median())

    def placed(pair: tuple[float, float]) -> tuple[float, float]:
        return panel.across.fraction(pair[0]) * size[0], panel.up.fraction(pair[1]) * size[1]

    lines = [Box.around(placed(start), placed(end)) for start, end in itertools.pairwise(corners)]
    dots = distinct(placed(pair) for point in panel.points for pair in point.samples)
    labelled = [point for point in panel.points if point not in panel.magnified]
    names, places = [point.name for point in labelled], [placed(point.median) for point in labelled]
    if panel.magnified:
        names.append(_ELSEWHERE)
        places.append(placed(_middle(panel.magnified)))
    hidden = [Box.around(placed(point.median), placed(point.median)) for point in panel.magnified]
    _draw_labels(axes, places, names, size, [*lines, *dots, *hidden])
    panel.across.apply(axes, "x")
    panel.up.apply(axes, "y")
    axes.set_xlabel(panel.label)
    axes.set_ylabel("Peak memory (MiB)")
    strip_frame(axes)


def _middle(points: Sequence[_Point]) -> tuple[float, float]:
    """Return the median that is in the middle of those of the crowd, the fastest that compete."""
    medians = sorted(point.median for point in points if point.competes)
    return medians[len(medians) // 2]


def _corners(best: Sequence[tuple[float, float]], panel: _Panel) -> list[tuple[float, float]]:
    """Return the steps along the best, on to the ends of the panel: what is beyond is worse than one of them."""
    if not best:
        return []
    corners = [(best[0][0], panel.up.high), best[0]]
    for total, peak in best[1:]:
        corners += [(total, corners[-1][1]), (total, peak)]
    return [*corners, (panel.across.high, best[-1][1])]


def _draw_labels(
    axes: Axes,
    places: Sequence[tuple[float, float]],
    names: Sequence[str],
    size: tuple[float, float],
    obstacles: Sequence[Box],
) -> None:
    boxes = place(places, names, size, _FONT_POINTS, obstacles)
    for (x, y), name, box in zip(places, names, boxes, strict=True):
        nearest = box.nearest((x, y))
        axes.plot(
            [x / size[0], nearest[0] / size[0]],
            [y / size[1], nearest[1] / size[1]],
            transform=axes.transAxes,
            color="#555555",
            linewidth=0.7,
            zorder=2,
        )
        is_right, is_left = box.left >= x, box.right <= x
        axes.text(
            (box.left if is_right else box.right if is_left else box.centre[0]) / size[0],
            box.centre[1] / size[1],
            name,
            transform=axes.transAxes,
            horizontalalignment="left" if is_right else "right" if is_left else "center",
            verticalalignment="center",
            fontsize=_FONT_POINTS,
            parse_math=False,
            bbox=_BEHIND_LABEL,
            zorder=2.5,
        )


def _add_legend(figure: Figure, *, has_others: bool) -> None:
    marker = {"linestyle": "", "marker": "o", "color": GREY, "markeredgecolor": BLACK}
    entries = {
        "Median": Line2D([], [], **marker, markersize=9),
        "A sample": Line2D([], [], **marker, markersize=4),
        "Front: nothing is both faster and smaller": Line2D([], [], **_FRONT),
    }
    labels = list(entries)
    if has_others:
        labels[-1] += " (among those that return the model's own vectors)"
    add_legend(figure, list(entries.values()), labels)
