"""How a strategy looks: the same in every picture, told apart by colour-blind readers and without any colour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

from bench.plan.cell import BASELINE, EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.plan.cell import Cell
    from bench.report.plots.parts.cells import Series
    from bench.stats.context import Context

BLACK, GREY, PALE, WHITE = "#000000", "#999999", "#DDDDDD", "#FFFFFF"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
"""Okabe and Ito's colours, safe for colour-blind readers."""

SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))
LineStyle = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a strategy.

    ``inside`` is the colour within a marker, "" for the strategy's own: the markers of peers are white there, and their
    lines dashed.
    """

    colour: str
    marker: str
    line: LineStyle = SOLID
    inside: str = ""

    @property
    def face(self) -> str:
        """Return the colour inside of a sample's marker."""
        return self.inside or self.colour

    @property
    def edge(self) -> str:
        """Return the colour around a sample's marker: black sets pale colours off from white."""
        return self.colour if self.inside else BLACK

    def sample(self) -> dict[str, Any]:
        """Return how a sample is drawn: small, and above the median's marker, which must hide none."""
        return {
            "linestyle": "",
            "marker": self.marker,
            "markersize": 4,
            "markerfacecolor": self.face,
            "markeredgecolor": self.edge,
            "markeredgewidth": 0.6,
            "alpha": 0.75,
            "zorder": 4,
        }

    def median(self) -> dict[str, Any]:
        """Return how a median is drawn: large and pale, with a strong edge, on the strategy's line."""
        return {
            "color": self.colour,
            "linestyle": self.line,
            "linewidth": 1.2,
            "marker": self.marker,
            "markersize": 9,
            "markerfacecolor": self.inside or to_rgba(self.colour, 0.35),
            "markeredgecolor": self.colour,
            "markeredgewidth": 1.5,
            "zorder": 3,
        }

    def key(self) -> Line2D:
        """Return what stands for the strategy in a legend."""
        return Line2D([], [], **self.median() | {"markersize": 8})


_KNOWN = {
    BASELINE: Look(BLACK, "s"),
    "lazy": Look(PURPLE, "v"),
    "background": Look(ORANGE, "^"),
    "progressive": Look(VERMILION, "o"),
    "cached": Look(BLUE, "D"),
    "quantized": Look(GREEN, "P"),
    "fastembed": Look(BLUE, "X", DASHED, inside=WHITE),
    "openvino": Look(GREEN, "p", DASHED, inside=WHITE),
    "model2vec": Look(VERMILION, "h", DASHED, inside=WHITE),
    "import_numpy": Look(BLACK, "d", DASHED, inside=WHITE),
    EMPTY: Look(BLACK, "*", DASHED, inside=WHITE),
}
_OTHER_COLOURS = (SKY, PURPLE, BLUE, ORANGE, GREEN, VERMILION, GREY)
_OTHER_MARKERS = ("<", ">", "8", "*", "d", "h")
"""For strategies that this module does not know, such as a user's commands: 42 looks, then from the start."""


def looks_by_strategy(context: Context) -> dict[str, Look]:
    """Return the look of every strategy of a run, whichever of them a picture shows."""
    names = {cell.strategy for cell in _cells(context)}
    others = sorted(names - set(_KNOWN))
    return _KNOWN | {
        name: Look(_OTHER_COLOURS[position % len(_OTHER_COLOURS)], _OTHER_MARKERS[position % len(_OTHER_MARKERS)])
        for position, name in enumerate(others)
    }


def _cells(context: Context) -> Iterator[Cell]:
    yield from (summary.cell for summary in context.summaries)
    yield from (record.cell for record in context.records)


def looks_of(context: Context, series: Iterable[Series]) -> dict[Series, Look]:
    """Return the look of each series: its strategy's, changed where a strategy has several, as with two engines."""
    by_strategy, looks = looks_by_strategy(context), {}
    variants: dict[str, int] = {}
    for one in dict.fromkeys(series):
        look, variant = by_strategy[one.cell.strategy], variants.get(one.cell.strategy, 0)
        variants[one.cell.strategy] = variant + 1
        looks[one] = _variant(look, variant)
    return looks


def _variant(look: Look, number: int) -> Look:
    other = "" if look.inside else WHITE
    changed = (look, replace(look, line=DOTTED, inside=other), replace(look, line=DASHDOT, inside=PALE))
    return changed[number % len(changed)]


def keys_of(looks: dict[Series, Look], shown: Sequence[Series]) -> list[Line2D]:
    """Return what stands for the series in a legend."""
    return [looks[series].key() for series in shown]
