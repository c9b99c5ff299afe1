"""A picture of a few horizontal bars, as a small SVG with large type: readable on a phone, light and dark.

Written by a template and not by Matplotlib, so that the same records give the same bytes everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

from bench.report.document import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, MARGIN, TOP, STEP, BAR = 480, 14, 66, 58, 24
"""Of the picture, in its own unit: a phone shows it at about three quarters of that in pixels."""

SHORTEST = 3.0
"""A bar that would be thinner could not be seen."""

_ROOM = WIDTH - 2 * MARGIN
_FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif\""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: what it stands for.
        value: its length, in any unit; not negative.
        label: the value for people.
        note: what else is said of it, such as how many times faster it is.
        ours: whether it is drawn in the strong colour.
    """

    name: str
    value: float
    label: str
    note: str = ""
    ours: bool = False


@dataclass(frozen=True)
class Palette:
    """Colours of a picture, as they stand in an attribute."""

    ground: str
    text: str
    muted: str
    other: str
    other_text: str
    ours: str
    ours_text: str


LIGHT = Palette("#ffffff", "#1c2128", "#57606c", "#c3cad3", "#1c2128", "#0068a3", "#ffffff")
DARK = Palette("#14171b", "#e3e6ea", "#9da6b1", "#4a525c", "#e3e6ea", "#6cbcf0", "#14171b")
"""The colours of the HTML report."""

PALETTES = {"light": LIGHT, "dark": DARK}
"""By the ending of the file's name."""


def to_svg(title: str, subtitle: str, bars: Sequence[Bar], palette: Palette) -> str:
    """Return the picture; every text is shown as it is."""
    height = TOP + STEP * len(bars) + MARGIN // 2
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" {_FONT}>',
        f"<title>{escape(one_line(title))}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{palette.ground}"/>',
        _text(MARGIN, 29, 20, palette.text, title, bold=True),
        _text(MARGIN, 50, 15, palette.muted, subtitle),
    ]
    for number, bar in enumerate(bars):
        parts += _bar(TOP + STEP * number, bar, _ROOM * bar.value / longest, palette)
    return "\n".join([*parts, "</svg>\n"])


def _bar(top: float, bar: Bar, length: float, palette: Palette) -> list[str]:
    """Return a name, the bar below it, and the label: in the bar if it is long, else behind it."""
    length = max(length, SHORTEST)
    colour = palette.ours if bar.ours else palette.other
    inside = length > _ROOM / 2
    at, anchor = (MARGIN + length - 8, "end") if inside else (MARGIN + length + 8, "start")
    strong, weak = (
        ((palette.ours_text if bar.ours else palette.other_text),) * 2 if inside else (palette.text, palette.muted)
    )
    note = f'<tspan font-weight="400" fill="{weak}"> {escape(one_line(bar.note))}</tspan>' if bar.note else ""
    return [
        _text(MARGIN, top + 16, 16, palette.text, bar.name, bold=bar.ours),
        f'<rect x="{MARGIN}" y="{top + 23}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        f'<text x="{at:.1f}" y="{top + 41}" font-size="17" font-weight="700" fill="{strong}" text-anchor="{anchor}" '
        f'xml:space="preserve">{escape(one_line(bar.label))}{note}</text>',
    ]


def _text(left: float, base: float, size: int, colour: str, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="{left}" y="{base}" font-size="{size}"{weight} fill="{colour}">{escape(one_line(text))}</text>'
