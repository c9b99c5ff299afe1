"""An SVG as the source of an ``img``: its names and styles stay its own, and no script in it runs."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass

from bench.report.html.characters import allowed

_VIEW_BOX = re.compile(r'<svg\b[^>]*\bviewBox="0 0 ([0-9]{1,5}(?:\.[0-9]+)?) ([0-9]{1,5}(?:\.[0-9]+)?)"')
_PX_PER_PT = 4 / 3  # https://www.w3.org/TR/css-values-4/#absolute-lengths; matplotlib draws in points


@dataclass(frozen=True)
class Source:
    """What an ``img`` needs.

    Attributes:
        url: the whole picture, as a ``data:`` URL.
        width: in CSS pixels; 0 if the picture does not tell.
        height: see the width.
    """

    url: str
    width: int
    height: int


def source(svg: str) -> Source:
    """Return an SVG as the source of an ``img``."""
    found = _VIEW_BOX.search(svg)
    width, height = (round(float(side) * _PX_PER_PT) for side in found.groups()) if found else (0, 0)
    return Source(f"data:image/svg+xml;base64,{b64encode(allowed(svg).encode()).decode()}", width, height)
