"""How long the first request waits, against how long the program did other work before it: a line for each strategy."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.fidelity import WITHOUT_VECTORS
from bench.report.plots.parts.cells import by_model, in_order, names_of, samples_of, series_of
from bench.report.plots.parts.frames import grid_figure, name_panel, strip_frame
from bench.report.plots.parts.looks import PALE, keys_of, looks_of
from bench.report.plots.parts.scales import scale_of
from bench.report.plots.parts.texts import add_legend, drawable_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.report.plots.parts.cells import Samples, Series
    from bench.report.plots.parts.looks import Look
    from bench.stats.context import Context
    from bench.stats.summary import CellSummary

_KEY = "first_embedding_ms"

_WORK = {"sleep": "sleep", "compute": "computing in Python"}

_DODGE = 0.9
"""The share of the distance of two think times over which strategies stand beside each other, where they are many."""

_WIDEST = 0.16
"""How far apart strategies stand where they are few, as a share of the same distance."""

_INCHES = {1: (7.5, 4.6), 2: (6.5, 4.4)}
"""The size of a panel, by how many there are; with more of them, they are smaller."""


@dataclass(frozen=True)
class _Panel:
    """One model and one kind of other work; requests at once are in the panels of every kind."""

    title: str
    kind: str
    items: tuple[CellSummary, ...]


def applies(context: Context) -> bool:
    """Return whether a run has requests after think time."""
    return any(_has_request(summary) for summary in context.in_scenarios("think_time"))


def draw(context: Context) -> Figure:
    """Return the figure: a panel for each model and kind of other work.

    What asked at once has a think time of 0; ``idle`` is left out, since it waits until the model is ready.
    """
    panels, samples = _panels(context), samples_of(context)
    shown = [item for panel in panels for item in panel.items]
    series = list(dict.fromkeys(_series(item) for item in shown))
    names, looks = names_of(context, series), looks_of(context, series)
    scale = scale_of([value for item in shown for value in samples.values(item, _KEY)])
    times = sorted({item.cell.think_s for item in shown})
    positions = {think_s: number for number, think_s in enumerate(times)}
    figure, panes = grid_figure(len(panels), panel_inches=_INCHES.get(max(len(panels), 1), (5.0, 4.0)))
    for axes, panel in zip(panes, panels, strict=False):
        _draw_panel(axes, panel, samples, positions, looks)
        if len(panels) > 1:
            name_panel(axes, panel.title)
        axes.set_xlabel(
            "Other work before the request (s)" if len(panels) > 1 else _alone(panel.kind), parse_math=False
        )
    for axes in panes:
        scale.apply(axes, "y")
        axes.set_xticks(list(range(len(times))), [f"{think_s:g}" for think_s in times])
        axes.set_xlim(-0.5, max(len(times), 1) - 0.5)
        axes.grid(axis="y", color=PALE, linewidth=0.6)
        for number in range(1, len(times)):  # says which think time what stands far aside belongs to
            axes.axvline(number - 0.5, color=PALE, linewidth=0.6, zorder=0)
        axes.set_axisbelow(True)
        strip_frame(axes)
        axes.set_ylabel("Wait of the first request (ms)")
    add_legend(figure, keys_of(looks, series), [names[one] for one in series])
    return figure


def _has_request(item: CellSummary) -> bool:
    """Tell whether somebody waits for a vector: not where nothing is embedded."""
    return _KEY in item.spreads and item.cell.subject not in WITHOUT_VECTORS


def _alone(kind: str) -> str:
    """Return the name of the axis of a panel that has no title."""
    return f"Other work before the request (s, {_work(kind)})"


def _work(kind: str) -> str:
    return drawable_text(_WORK.get(kind, kind))


def _series(item: CellSummary) -> Series:
    return series_of(item, across_scenarios=True)


def _panels(context: Context) -> list[_Panel]:
    found = [item for item in context.in_scenarios("at_once", "think_time") if _has_request(item)]
    kinds = list(dict.fromkeys(item.cell.think_kind for item in found if item.cell.scenario == "think_time"))
    panels = []
    for group in by_model(context, found):
        for kind in kinds:
            items = tuple(item for item in group.items if item.cell.think_kind in {"", kind})
            if any(item.cell.think_kind == kind for item in items):
                panels.append(_Panel(f"{group.title}, {_work(kind)}", kind, items))
    # Where some have several lengths of other work, the others tell little: they stand in the table.
    lengths = [{item.cell.think_s for item in panel.items} for panel in panels]
    most = max(map(len, lengths), default=0)
    return [panel for panel, own in zip(panels, lengths, strict=True) if len(own) > 1 or most == 1]


def _places(series: Sequence[Series]) -> dict[Series, tuple[float, float]]:
    """Return by how much each of those at one think time stands aside, to hide no other, and half its width."""
    step = min(_DODGE / max(len(series), 1), _WIDEST)
    return {one: ((number - (len(series) - 1) / 2) * step, 0.3 * step) for number, one in enumerate(series)}


def _draw_panel(
    axes: Axes, panel: _Panel, samples: Samples, positions: Mapping[float, int], looks: Mapping[Series, Look]
) -> None:
    by_series: dict[Series, dict[float, list[float]]] = {}
    for item in panel.items:
        by_series.setdefault(_series(item), {})[item.cell.think_s] = samples.values(item, _KEY)
    ordered = [one for one in looks if one in by_series]  # at every think time in the same order
    places = {think_s: _places([one for one in ordered if by_series[one].get(think_s)]) for think_s in positions}
    for series in ordered:
        look, middles = looks[series], []
        for think_s, values in sorted(by_series[series].items()):
            if not values:
                continue
            aside, half = places[think_s][series]
            middle = positions[think_s] + aside
            axes.plot([middle + place for place in in_order(len(values), half)], values, **look.sample())
            middles.append((middle, statistics.median(values)))
        axes.plot([x for x, _ in middles], [median_ms for _, median_ms in middles], **look.median())
