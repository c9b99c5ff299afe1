"""Text from outside, made fit to be drawn: names of models and strategies may hold anything."""

from __future__ import annotations

import itertools
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

LONGEST = 44
"""Characters of a name that are drawn; a longer one loses its middle, since both ends tell names apart."""

_KEY_INCHES, _CHARACTER_INCHES = 0.6, 0.068
"""Of an entry of a legend: what stands for the thing and the space around it, and a character of its name."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def drawable_text(text: str, longest: int = LONGEST) -> str:
    """Return text on one line, without control characters and unpaired surrogates, and at most so long."""
    line = " ".join(text.split())
    drawable = "".join(_REPLACEMENT if _cannot_be_drawn(character) else character for character in line)
    if len(drawable) <= longest:
        return drawable
    tail = (longest - 1) // 2
    return f"{drawable[: longest - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{drawable[-tail:]}"


def _cannot_be_drawn(character: str) -> bool:
    """Tell control, format (text from right to left), surrogate, private and unassigned characters: no SVG has them."""
    return unicodedata.category(character).startswith("C")


def add_legend(figure: Figure, handles: Sequence[object], labels: Sequence[str]) -> Legend | None:
    """Add the legend below the panels, as wide as the figure lets it; None if there is nothing to name.

    Labels are set afterwards, because Matplotlib leaves out those that begin with "_" and reads "$" as mathematics.
    """
    if not handles:
        return None
    columns = next((n for n in range(len(labels), 1, -1) if _legend_inches(labels, n) <= figure.get_figwidth()), 1)
    places = [str(number) for number in range(len(labels))]
    legend = figure.legend(handles, places, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)
    return legend


def _legend_inches(labels: Sequence[str], columns: int) -> float:
    """Return the width of a legend; Matplotlib fills column by column, the first ones with one entry more."""
    least, longer = divmod(len(labels), columns)
    starts = [number * least + min(number, longer) for number in range(columns + 1)]
    longest = [max(map(len, labels[start:end])) for start, end in itertools.pairwise(starts)]
    return sum(_KEY_INCHES + _CHARACTER_INCHES * length for length in longest)
