"""The pictures of a report, in order: each is drawn from the context and saved as PNG and SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.document import Picture
from bench.report.plots import imports, phases
from bench.report.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from bench.report.context import Context


def _always(context: Context) -> bool:  # noqa: ARG001 - the plots' protocol
    return True


@dataclass(frozen=True)
class Plot:
    """A picture: its file name, its caption, the function that draws it, and whether a run has what it shows."""

    name: str
    caption: str
    draw: Callable[[Context], Figure]
    applies: Callable[[Context], bool] = _always


PLOTS: tuple[Plot, ...] = (
    Plot("phases", "Where the time goes until the first vector", phases.draw, phases.applies),
    Plot("imports", "Which packages the import time goes to", imports.draw, imports.applies),
)


def pictures(context: Context, *names: str) -> list[Picture]:
    """Return those of the named pictures that the run has the data for."""
    plots = {plot.name: plot for plot in PLOTS}
    shown = plots_of(context)
    return [Picture(name, plots[name].caption) for name in names if plots.get(name) in shown]


def plots_of(context: Context) -> list[Plot]:
    """Return the pictures that the run has the data for; none if nothing was measured."""
    return [plot for plot in PLOTS if context.measured and plot.applies(context)]


def draw_all(context: Context, folder: Path) -> None:
    """Write every picture of the run into the folder; see ``plots_of``."""
    plots = plots_of(context)
    if not plots:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        save(plot.draw(context), folder, plot.name)
