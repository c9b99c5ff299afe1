"""The pictures of a report, in order: each is drawn from the context and saved as PNG and SVG.

A picture is a module with ``applies`` and ``draw``, and a line here; what several of them need is in ``parts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.document import Picture
from bench.report.plots import imports, memory_timeline, model_size, pareto, phases, strips, waiting, waterfall
from bench.report.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from bench.stats.context import Context


@dataclass(frozen=True)
class Plot:
    """A picture: its file name, its caption, the function that draws it, and whether a run has what it shows."""

    name: str
    caption: str
    draw: Callable[[Context], Figure]
    applies: Callable[[Context], bool]


PLOTS: tuple[Plot, ...] = (
    Plot("phases", "Where the time goes until the first vector", phases.draw, phases.applies),
    Plot("strips", "Start-up time of every sample", strips.draw, strips.applies),
    Plot("pareto", "Start-up time against peak memory", pareto.draw, pareto.applies),
    Plot(
        "waiting",
        "How long the first request waits after other work (the baseline and peers load before that work)",
        waiting.draw,
        waiting.applies,
    ),
    Plot("model_size", "Start-up time against model size", model_size.draw, model_size.applies),
    Plot(
        "memory_timeline",
        "Resident memory during a start; each panel has its own scale",
        memory_timeline.draw,
        memory_timeline.applies,
    ),
    Plot("imports", "Import time by package", imports.draw, imports.applies),
    Plot(
        "waterfall",
        "The longest imports, in the order they ran; those that only re-export another are left out",
        waterfall.draw,
        waterfall.applies,
    ),
)


def plots_of(context: Context) -> list[Plot]:
    """Return the pictures that the run has the data for; none if nothing was measured."""
    return [plot for plot in PLOTS if context.measured and plot.applies(context)]


def pictures(context: Context, *names: str) -> list[Picture]:
    """Return those of the named pictures that the run has the data for, in the order of their names.

    Raises:
        KeyError: there is no picture of that name.
    """
    listed = {plot.name: plot for plot in PLOTS}
    named, drawn = [listed[name] for name in names], plots_of(context)
    return [Picture(plot.name, plot.caption) for plot in named if plot in drawn]


def draw_all(context: Context, folder: Path) -> None:
    """Write every picture of the run into the folder; see ``plots_of``."""
    plots = plots_of(context)
    if not plots:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        save(plot.draw(context), folder, plot.name)
