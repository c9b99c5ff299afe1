"""Saving a picture as PNG and SVG; the same data give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

# Without a date and with fixed identifiers.
_DETERMINISTIC = {"svg.hashsalt": "bench", "svg.fonttype": "none"}


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg`` into the folder."""
    with mpl.rc_context(_DETERMINISTIC):
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
