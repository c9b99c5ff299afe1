"""The pictures of a report, in order: each is drawn from the context and saved as PNG and SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl

from bench.report.plots import phases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from bench.report.context import Context


@dataclass(frozen=True)
class Plot:
    """A picture: its file name, its caption and the function that draws it."""

    name: str
    caption: str
    draw: Callable[[Context], Figure]


PLOTS: tuple[Plot, ...] = (Plot("phases", "Where the time goes until the first vector", phases.draw),)

# Without a date and with fixed identifiers, the same records give the same bytes.
_DETERMINISTIC = {"svg.hashsalt": "bench", "svg.fonttype": "none"}


def draw_all(context: Context, folder: Path) -> None:
    """Write every picture into the folder; none if nothing was measured."""
    if not context.measured:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_DETERMINISTIC):
        for plot in PLOTS:
            figure = plot.draw(context)
            figure.savefig(folder / f"{plot.name}.png", dpi=150, metadata={"Software": None})
            figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})
