"""Which import took how long, in their order: the baseline and one of ours, below each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from bench.report.plots.parts.cells import name_with_model, names_of, series_of
from bench.report.plots.parts.frames import name_panel, name_rows, rows_figure, strip_frame
from bench.report.plots.parts.looks import BLACK, BLUE, SKY
from bench.report.plots.parts.scales import PLAIN
from bench.report.plots.parts.texts import add_legend, drawable_text
from bench.report.profiles import MIN_SHARE, Import, import_tree_of, of_first_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.data.records import Record
    from bench.stats.context import Context

_MOST_ROWS = 25
_DEEPEST = 12
"""Levels that a name is indented by; deeper ones stand below the twelfth."""

_PASSED_ON = 0.9
"""An import of which another takes so much passes it on."""

_SPACE = "\N{NO-BREAK SPACE}"
_PREFERRED = "progressive"


def applies(context: Context) -> bool:
    """Return whether the run has what the picture shows."""
    return bool(_shown(context))


def draw(context: Context) -> Figure:
    """Return the figure; each panel has its own time axis."""
    records = _shown(context)
    names = names_of(context, map(series_of, records))
    trees = [_leading(record) for record in records]
    labels = [_labels(tree) for tree in trees]
    longest = max((len(label) for each in labels for label in each), default=0)
    rows = rows_figure([len(tree) for tree in trees], shared=False, most_inches=0.26, overhead_inches=2.2)
    for (axes,), tree, each, record in zip(rows.panes, trees, labels, records, strict=False):
        _draw_bars(axes, tree)
        name_rows(axes, [label.ljust(longest, _SPACE) for label in each], rows.font_points, font="monospace")
        axes.xaxis.set_major_formatter(PLAIN)
        strip_frame(axes)
        name_panel(axes, name_with_model(context, names[series_of(record)], record))
    rows.panes[-1][0].set_xlabel("Milliseconds of import time (under -X importtime)")
    keys = [
        Patch(facecolor=colour, edgecolor=BLACK, linewidth=0.5, hatch=hatch)
        for colour, hatch in ((SKY, ""), (BLUE, "///"))
    ]
    add_legend(rows.figure, keys, ["Import, including what it imports", "Its own share, drawn at the end"])
    return rows.figure


def leading_imports(tree: Sequence[Import], whole_us: float) -> list[Import]:
    """Return the imports from ``MIN_SHARE`` of the whole import time on, at most 25 of them, in their order.

    Left out are those that do little but import one other: of ten modules of a package that pass each other on, the
    innermost is shown, which says why it takes so long. The depth of what is returned is among what is returned.
    """
    long = [one for one in tree if one.cumulative_us > 0 and one.cumulative_us >= MIN_SHARE * whole_us]
    telling = [one for one, longest_us in zip(long, _longest_inside(long), strict=True) if _tells(one, longest_us)]
    kept = {id(one) for one in sorted(telling, key=lambda one: -one.cumulative_us)[:_MOST_ROWS]}
    shown, around = [], list[Import]()
    for one in long:
        while around and around[-1].depth >= one.depth:
            around.pop()
        if id(one) in kept:
            shown.append(replace(one, depth=len(around)))
            around.append(one)
    return shown


def _tells(one: Import, longest_us: float) -> bool:
    return one.depth == 0 or longest_us < _PASSED_ON * one.cumulative_us


def _longest_inside(tree: Sequence[Import]) -> list[float]:
    """Return the microseconds of the longest import directly inside of each; 0 where there is none."""
    longest_us, around = [0.0] * len(tree), list[int]()
    for index, one in enumerate(tree):
        while around and tree[around[-1]].depth >= one.depth:
            around.pop()
        if around:
            longest_us[around[-1]] = max(longest_us[around[-1]], one.cumulative_us)
        around.append(index)
    return longest_us


def _leading(record: Record) -> list[Import]:
    """Return the leading imports of a cell; the tree of a record has only the longest of all."""
    whole_us = sum(max(cost["self_us"], 0) for cost in record.facts.get("imports") or ())
    return leading_imports(import_tree_of(record), whole_us)


def _shown(context: Context) -> list[Record]:
    """Return the records of the baseline and of one of ours, or of the first there is."""
    records = [record for record in of_first_model(context, "importtime") if _leading(record)]
    baselines = [record for record in records if record.cell.is_baseline]
    ours = [record for record in records if not (record.cell.is_baseline or record.cell.is_peer)]
    ours.sort(key=lambda record: record.cell.strategy != _PREFERRED)
    return [*baselines[:1], *ours[:1]] or records[:1]


def _draw_bars(axes: Axes, tree: Sequence[Import]) -> None:
    first_us = min((one.start_us for one in tree), default=0)
    ends_ms = []
    for position, one in enumerate(tree):
        start_ms, length_ms = (one.start_us - first_us) / 1000, one.cumulative_us / 1000
        own_ms = min(max(one.self_us / 1000, 0.0), length_ms)
        ends_ms.append(start_ms + length_ms)
        axes.barh(position, length_ms, left=start_ms, height=0.72, color=SKY, edgecolor=BLACK, linewidth=0.4)
        axes.barh(
            position,
            own_ms,
            left=start_ms + length_ms - own_ms,
            height=0.72,
            color=BLUE,
            hatch="///",
            edgecolor=BLACK,
            linewidth=0.4,
        )
    axes.set_xlim(0.0, 1.02 * max(ends_ms, default=0.0) or 1.0)


def _labels(tree: Sequence[Import]) -> list[str]:
    """Return the names, indented by what imported what."""
    return [_SPACE * 2 * min(one.depth, _DEEPEST) + drawable_text(one.name, 40) for one in tree]
