"""A confidence interval for a median, without NumPy: the parent uses it to decide when enough has been measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median's interval, in the unit of its values."""

    low: float
    high: float

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width on a logarithmic scale, as a ratio minus one; for positive values."""
        return math.sqrt(self.high / self.low) - 1 if self.low > 0 else math.inf


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return a distribution-free interval for the median, None if there are too few values for the confidence.

    The median lies between the k-th smallest and the k-th largest value unless fewer than k values fall on one side of
    it, and each falls on either side with probability 1/2 (Conover, Practical Nonparametric Statistics, section 3.2).
    This takes the largest k whose interval has at least the given confidence.

    Args:
        values: independent samples, in any order; at least 6 for a confidence of 0.95.
        confidence: between 0 and 1.
    """
    count, ordered = len(values), sorted(values)
    tail, rank = 0.0, 0
    for below in range(count // 2):
        tail += math.comb(count, below) / 2**count
        if 1 - 2 * tail < confidence:
            break
        rank = below + 1
    return Interval(ordered[rank - 1], ordered[-rank]) if rank else None
