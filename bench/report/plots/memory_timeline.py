"""Resident memory over time, a panel for each cell: one sample each, with what the process was doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.data.metrics import MIB
from bench.report.plots.parts.cells import name_with_model, names_of, series_of
from bench.report.plots.parts.frames import grid_figure, name_panel, strip_frame
from bench.report.plots.parts.looks import BLACK, DASHDOT, DASHED, DOTTED, SOLID, VERMILION, YELLOW
from bench.report.plots.parts.scales import PLAIN
from bench.report.plots.parts.texts import add_legend
from bench.report.profiles import MemoryPoint, memory_timeline_of, of_first_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.data.records import Record
    from bench.stats.context import Context

_MOST_PANELS = 9

_STRETCH = 1.03
"""How much further than to the last point the axis of time goes."""

_MARKS = {
    "imported": ("Imported", DOTTED, 1.4),
    "started": ("Load started", DASHED, 1.2),
    "ready": ("Model ready", DASHDOT, 1.4),
    "first_embedding": ("First vector", SOLID, 1.2),
}
"""What is marked: its name, and the style and width of its line."""

_KINDS = {"Anonymous (private)": (VERMILION, ""), "File-mapped (shared)": (YELLOW, "..")}


def applies(context: Context) -> bool:
    """Return whether the run has what the picture shows."""
    return bool(_shown(context))


def draw(context: Context) -> Figure:
    """Return the figure: baseline, ours and peers with the first model; each panel has its own scales."""
    records = _shown(context)
    names = names_of(context, map(series_of, records))
    single = len(records) < 2
    figure, panes = grid_figure(len(records), panel_inches=(7.5, 4.2) if single else (4.3, 2.7))
    for axes, record in zip(panes, records, strict=False):
        points = memory_timeline_of(record)
        _draw_panel(axes, points, record)
        peak = max((point.anonymous_bytes + point.file_mapped_bytes for point in points), default=0) / MIB
        name = name_with_model(context, names[series_of(record)], record)
        name_panel(axes, f"{name}: at most {peak:,.0f} MiB")
    for axes in panes:
        axes.set_xlabel("Milliseconds since process start")
        axes.set_ylabel("Resident (MiB)")
        strip_frame(axes)
        axes.xaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_major_formatter(PLAIN)
    if records:
        _add_legend(figure, records)
    return figure


def _shown(context: Context) -> list[Record]:
    records = of_first_model(context, "memory")
    kept = [record for record in records if memory_timeline_of(record)]
    return sorted(kept, key=lambda record: (not record.cell.is_baseline, record.cell.is_peer))[:_MOST_PANELS]


def _draw_panel(axes: Axes, points: Sequence[MemoryPoint], record: Record) -> None:
    times_ms = [point.time_ns / 1e6 for point in points]
    anonymous = [point.anonymous_bytes / MIB for point in points]
    both = [(point.anonymous_bytes + point.file_mapped_bytes) / MIB for point in points]
    floor = [0.0] * len(points)
    for low, high, (colour, hatch) in zip((floor, anonymous), (anonymous, both), _KINDS.values(), strict=True):
        axes.fill_between(times_ms, low, high, facecolor=colour, hatch=hatch, edgecolor=BLACK, linewidth=0.5)
    marks = [(record.marks_ns[mark] / 1e6, style) for mark, style in _MARKS.items() if mark in record.marks_ns]
    for time_ms, (_, line, width) in marks:
        axes.axvline(time_ms, color=BLACK, linestyle=line, linewidth=width, zorder=3)
    drawn_ms = [0.0, *times_ms, *(time_ms for time_ms, _ in marks)]
    axes.set_xlim(_STRETCH * min(drawn_ms), _STRETCH * max(drawn_ms) or 1.0)
    axes.set_ylim(0.0, 1.08 * max(both, default=0.0) or 1.0)


def _add_legend(figure: Figure, records: Sequence[Record]) -> None:
    entries: dict[str, object] = {
        name: Patch(facecolor=colour, hatch=hatch, edgecolor=BLACK, linewidth=0.5)
        for name, (colour, hatch) in _KINDS.items()
    }
    for mark, (name, line, width) in _MARKS.items():
        if any(mark in record.marks_ns for record in records):
            entries[name] = Line2D([], [], color=BLACK, linestyle=line, linewidth=width)
    add_legend(figure, list(entries.values()), list(entries))
