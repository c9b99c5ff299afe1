"""Saving a picture as PNG and SVG; the same data give the same bytes."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

# Without a date and with fixed identifiers.
_DETERMINISTIC = {"svg.hashsalt": "bench", "svg.fonttype": "none"}

_CLIP_ID = re.compile(r'(?:(?<=<clipPath id=")|(?<=url\(#))p[0-9a-f]{10}(?=["\)])')
"""The identifier of a clip path, which Matplotlib derives from an address in memory, salt or no salt."""


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg`` into the folder."""
    with mpl.rc_context(_DETERMINISTIC), any_script():
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        svg = folder / f"{name}.svg"
        figure.savefig(svg, metadata={"Date": None})
        svg.write_text(_numbered(svg.read_text(encoding="utf-8")), encoding="utf-8")


@contextmanager
def any_script() -> Iterator[None]:
    """Let text pass for which the font has no glyph, such as an emoji: it is drawn as a box, and SVG keeps the text.

    Matplotlib warns of it, which a caller may have made an error; a picture with a box is better than none.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


def _numbered(svg: str) -> str:
    """Return the picture with its clip paths numbered as they come."""
    numbers: dict[str, int] = {}
    return _CLIP_ID.sub(lambda found: f"clip{numbers.setdefault(found[0], len(numbers))}", svg)
