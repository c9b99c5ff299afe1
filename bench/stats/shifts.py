"""By how much one set of samples differs from another: the Hodges-Lehmann shift of logarithms and its interval.

What slows a machine down multiplies start-up times rather than adding to them, so differences are taken between
logarithms and given as ratios. The only assumption about the distribution is that differences between two equal things
are symmetric around zero.

Sources: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (3rd edition), sections 3.1 to 3.3 for pairs
and 4.1 to 4.3 for independent samples; Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ENOUGH = 10
"""Fewest samples on each side for the large-sample interval of independent sets."""


@dataclass(frozen=True)
class Shift:
    """A ratio of two sets of samples, candidate to base; 1.1 means that the candidate takes 10 % more.

    Attributes:
        ratio: the estimate.
        low: lower end of its interval, 0 if there are too few samples.
        high: upper end, infinite if there are too few.
        n: pairs, or samples of the smaller set.
        confidence: the interval's confidence.
    """

    ratio: float
    low: float
    high: float
    n: int
    confidence: float


def paired_shift(differences: Sequence[float], alpha: float) -> Shift:
    """Return the shift of pairs: the median of all Walsh averages, with the exact Wilcoxon interval.

    Args:
        differences: between the logarithms, candidate minus base, one for each pair; at least one.
        alpha: probability, for each end of the interval, that it is on the wrong side.

    Returns:
        ratios; the interval has at least the confidence ``1 - 2 * alpha``, even with ties.
    """
    averages = _walsh_averages(differences)
    n = len(differences)
    # The statistic of a bound is the number of averages above it (Tukey). The interval ends at the last average whose
    # statistic is still probable enough; ``improbable`` is the smallest that is not.
    improbable = int(np.searchsorted(-_upper_tail(n), -alpha))
    rank = len(averages) - improbable
    low, high = (averages[rank], averages[-rank - 1]) if 0 <= rank < len(averages) else (-math.inf, math.inf)
    return _to_shift(float(np.median(averages)), float(low), float(high), n, alpha)


def fewest_pairs(alpha: float) -> int:
    """Return how many pairs the interval of ``paired_shift`` takes: n equal signs have a chance of 1 / 2**n."""
    return math.ceil(-math.log2(alpha))


def excess_probability(differences: Sequence[float], bound: float) -> float:
    """Return the probability of differences as large as these if the shift were ``bound`` (one-sided Wilcoxon).

    Averages equal to the bound do not count, so ties can only make the answer larger.
    """
    above = int(np.count_nonzero(_walsh_averages(differences) > bound))
    return float(_upper_tail(len(differences))[above])


def independent_shift(base: Sequence[float], candidate: Sequence[float], alpha: float) -> Shift:
    """Return the shift of two independent sets: the median of all differences, with the Mann-Whitney interval.

    The interval is the large-sample one: with fewer than ten samples on a side it is open.

    Args:
        base: logarithms; at least one.
        candidate: logarithms; at least one.
        alpha: see ``paired_shift``.
    """
    differences = np.sort(np.subtract.outer(np.asarray(candidate, float), np.asarray(base, float)), axis=None)
    n, m = len(base), len(candidate)
    rank = math.floor(n * m / 2 - float(norm.isf(alpha)) * _spread(n, m))
    enough = min(n, m) >= ENOUGH and rank >= 1
    low, high = (differences[rank - 1], differences[-rank]) if enough else (-math.inf, math.inf)
    return _to_shift(float(np.median(differences)), float(low), float(high), min(n, m), alpha)


def independent_excess_probability(base: Sequence[float], candidate: Sequence[float], bound: float) -> float:
    """Return the probability of sets as far apart as these if the shift were ``bound`` (one-sided Mann-Whitney).

    It is at most alpha exactly when the interval of ``independent_shift`` lies above the bound.
    """
    n, m = len(base), len(candidate)
    if min(n, m) < ENOUGH:
        return 1.0
    above = np.count_nonzero(np.subtract.outer(np.asarray(candidate, float), np.asarray(base, float)) > bound)
    return float(norm.sf((float(above) - 1 - n * m / 2) / _spread(n, m)))


def holm_levels(probabilities: Sequence[float], alpha: float) -> list[float]:
    """Return the level of each hypothesis's test so that the family-wise error rate is ``alpha``.

    The least probable is tested at ``alpha / m``; if it is rejected, the next one at ``alpha / (m - 1)``, and so on.
    Once one is not rejected, all remaining ones get its level, and none of them is rejected.
    """
    levels, left = [0.0] * len(probabilities), len(probabilities)
    for index in sorted(range(len(probabilities)), key=probabilities.__getitem__):
        levels[index] = alpha / left
        if probabilities[index] <= alpha / left:
            left -= 1
    return levels


def _walsh_averages(differences: Sequence[float]) -> Floats:
    """Return the means of all pairs, including each difference with itself, in order."""
    values = np.asarray(differences, float)
    first, second = np.triu_indices(len(values))
    averages: Floats = (values[first] + values[second]) / 2
    averages.sort()
    return averages


@lru_cache(maxsize=512)
def _upper_tail(n: int) -> Floats:
    """Return for each value of Wilcoxon's signed rank statistic the probability of at least this value.

    Each rank from 1 to n counts with probability 1/2, independently. The last entry, for a value that
    cannot be reached, is 0.
    """
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):
        chances *= 0.5
        chances[rank:] += chances[:-rank].copy()
    tail: Floats = np.append(np.cumsum(chances[::-1])[::-1], 0.0).clip(max=1.0)
    return tail


def _spread(n: int, m: int) -> float:
    """Return the standard deviation of the Mann-Whitney statistic, ignoring ties, which make it smaller."""
    return math.sqrt(n * m * (n + m + 1) / 12)


def _to_shift(middle: float, low: float, high: float, n: int, alpha: float) -> Shift:
    return Shift(math.exp(middle), math.exp(low), math.exp(high), n, 1 - 2 * alpha)
