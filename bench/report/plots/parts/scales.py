"""The scale of an axis: its ends, linear or logarithmic, with ticks that can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, NullLocator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

PLAIN = "{x:,.12g}"
"""How Matplotlib writes the number beside a tick: in full, with separators of thousands."""

WIDE = 8.0
"""From so many times the smallest on, values are shown on a logarithmic scale."""

_LEAST = 1e-9
"""A nanosecond in seconds, the least that is measured; smaller values stand on a linear scale."""

_STEPS_BY_DECADES = ((1.0, (1, 1.5, 2, 3, 5, 7)), (2.7, (1, 2, 5)), (4.0, (1, 3)))
"""Up to so many decades, the ticks in each; beyond, powers of ten alone, at most ``_MOST_POWERS`` of them."""
_MOST_POWERS = 8


@dataclass(frozen=True)
class Scale:
    """The two ends of an axis, and whether it is logarithmic."""

    low: float
    high: float
    is_log: bool

    def fraction(self, value: float) -> float:
        """Return where a value lies: 0 at the low end of the axis, 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return the places of the ticks of a logarithmic scale."""
        decades = math.log10(self.high / self.low)
        steps = next((steps for most, steps in _STEPS_BY_DECADES if decades <= most), (1,))
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        powers = powers[:: math.ceil(len(powers) / _MOST_POWERS)]
        return [tick for power in powers for step in steps if self.low <= (tick := step * 10.0**power) <= self.high]

    def apply(self, axes: Axes, direction: str) -> None:
        """Give an axis this scale; ``direction`` is ``"x"`` or ``"y"``."""
        axis = axes.xaxis if direction == "x" else axes.yaxis
        if self.is_log:
            (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
            axis.set_major_locator(FixedLocator(self.ticks()))
            axis.set_minor_locator(NullLocator())
        (axes.set_xlim if direction == "x" else axes.set_ylim)(self.low, self.high)
        axis.set_major_formatter(PLAIN)


def scale_of(values: Iterable[float], *, wide: float = WIDE, from_zero: bool = True, margin: float = 0.06) -> Scale:
    """Return the scale that shows all values.

    Args:
        values: of all that is drawn.
        wide: from so many times the smallest on, the scale is logarithmic.
        from_zero: whether a linear scale begins at zero.
        margin: the share of the axis that is left free at an end.
    """
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=1.0)
    if low >= _LEAST and high / low >= wide:
        stretch = (high / low) ** margin
        return Scale(low / stretch, high * stretch, is_log=True)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    space = margin * (high - low) or max(0.5, margin * abs(high))
    return Scale(low - space if low else 0.0, high + space, is_log=False)
