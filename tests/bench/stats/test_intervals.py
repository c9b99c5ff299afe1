"""The interval of a median."""

import math
import random
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.intervals import CONFIDENCE, Interval, median_interval

samples = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)


@pytest.mark.parametrize("count", range(6))
def test_too_few_values_have_no_interval(count):
    assert median_interval([1.0] * count) is None


def test_six_values_span_all_of_them():
    assert median_interval([5, 1, 4, 2, 6, 3]) == Interval(1, 6)


@given(samples)
def test_it_is_scipys(values):
    interval = median_interval(values)
    theirs = scipy.stats.quantile_test(np.array(values), p=0.5).confidence_interval(CONFIDENCE)
    if interval is None:
        assert math.isnan(theirs.low)
        assert math.isnan(theirs.high)
    else:
        # SciPy looks at each side by itself and may take one value more; ours takes the same on both.
        assert interval.low <= statistics.median(values) <= interval.high
        assert theirs.low <= interval.low or theirs.low == pytest.approx(interval.low)
        assert theirs.high >= interval.high or interval.high in values


@given(samples, st.randoms())
def test_order_does_not_matter_and_scale_carries_over(values, random_):
    shuffled = list(values)
    random_.shuffle(shuffled)
    assert median_interval(shuffled) == median_interval(values)
    interval, doubled = median_interval(values), median_interval([2 * value for value in values])
    if interval is not None:
        assert (doubled.low, doubled.high) == (2 * interval.low, 2 * interval.high)
        assert doubled.relative_half_width == pytest.approx(interval.relative_half_width)


def test_it_covers_the_median_as_often_as_it_says():
    rng = random.Random(1)
    trials, covered = 2000, 0
    for _ in range(trials):
        interval = median_interval([rng.lognormvariate(0, 0.5) for _ in range(15)])
        covered += interval.low <= 1.0 <= interval.high
    # Three standard errors below the promise; the rank is discrete, so it is rather above.
    assert covered / trials > CONFIDENCE - 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)


def test_the_width_is_relative():
    assert Interval(0.9, 0.9).relative_half_width == 0
    assert Interval(1.0, 1.21).relative_half_width == pytest.approx(0.1)
    assert Interval(0.0, 1.0).relative_half_width == math.inf
