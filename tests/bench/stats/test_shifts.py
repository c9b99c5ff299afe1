"""Shifts and their intervals, against SciPy, against their definition and against simulated truths."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.stats.shifts import (
    excess_probability,
    holm_levels,
    independent_excess_probability,
    independent_shift,
    paired_shift,
)

ALPHA = 0.025
NEGLIGIBLE = 1e-6
"""Probability that a simulation of a right implementation fails, had its seed been another one."""

logs = st.floats(-3, 3).map(lambda value: round(value, 6))
differences = st.lists(logs, min_size=1, max_size=40)
many = st.lists(logs, min_size=10, max_size=25)
alphas = st.floats(1e-4, 0.2)


def ends(shift):
    """The interval as logarithms."""
    return math.log(shift.low) if shift.low else -math.inf, math.log(shift.high)


def walsh(values):
    return sorted((values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i + 1))


def wilcoxon(values, bound):
    """SciPy's one-sided exact probability that the values lie this far above the bound."""
    return scipy.stats.wilcoxon(np.array(values) - bound, alternative="greater", method="exact").pvalue


def noise(seed, *shape):
    """Heavy tails, as start-up times have them, but symmetric: what the method assumes."""
    return np.random.default_rng(seed).standard_t(2, shape) * 0.05


def distinct(values):
    """Whether neither a value nor an average of two stands there twice, so that every count is unambiguous."""
    gaps = np.diff(walsh(values))
    return len(gaps) == 0 or float(gaps.min()) > 1e-9


class TestPairs:
    @pytest.mark.parametrize("count", [1, 2, 5, 6, 10, 23, 50])
    @pytest.mark.parametrize("bound", [-0.05, 0.0, 0.01, 0.04])
    def test_the_probability_is_scipys(self, count, bound):
        values = noise(count, count)
        assert excess_probability(values, bound) == pytest.approx(wilcoxon(values, bound), rel=1e-9)

    @given(st.lists(logs, min_size=1, max_size=25), logs)
    def test_the_probability_is_scipys_for_any_values_without_ties(self, values, bound):
        assume(distinct(values))
        assume(min(abs(average - bound) for average in walsh(values)) > 1e-9)
        assert excess_probability(values, bound) == pytest.approx(wilcoxon(values, bound), rel=1e-9)

    @pytest.mark.parametrize("count", [6, 7, 10, 15, 34])
    @pytest.mark.parametrize("alpha", [ALPHA, 0.017, 0.1])
    def test_the_interval_inverts_scipys_test(self, count, alpha):
        values = noise(count, count)
        low, high = ends(paired_shift(values, alpha))
        step = 1e-9
        assert wilcoxon(values, low - step) <= alpha < wilcoxon(values, low + step)
        assert wilcoxon(-values, -high - step) <= alpha < wilcoxon(-values, -high + step)

    @given(differences, alphas, st.floats(-1, 1))
    def test_an_interval_above_a_bound_and_an_improbable_excess_are_one(self, values, alpha, bound):
        low, _ = ends(paired_shift(values, alpha))
        assume(abs(low - bound) > 1e-9)
        assert (low > bound) == (excess_probability(values, bound) <= alpha)

    @given(differences)
    def test_the_estimate_is_the_median_of_the_walsh_averages(self, values):
        shift = paired_shift(values, ALPHA)
        assert math.log(shift.ratio) == pytest.approx(float(np.median(walsh(values))), abs=1e-12)
        assert (shift.n, shift.confidence) == (len(values), 0.95)

    @given(st.lists(logs, min_size=1, max_size=5))
    def test_five_pairs_can_exclude_nothing(self, values):
        """Even if all five agree: that happens by chance once in 32 times."""
        shift = paired_shift(values, ALPHA)
        assert (shift.low, shift.high) == (0.0, math.inf)
        assert min(walsh(values)) <= math.log(shift.ratio) + 1e-12 <= max(walsh(values)) + 2e-12

    def test_six_pairs_span_all_of_them(self):
        values = [0.3, 0.1, 0.25, 0.7, 0.2, 0.9]
        assert ends(paired_shift(values, ALPHA)) == (pytest.approx(0.1), pytest.approx(0.9))

    @given(st.integers(6, 60), logs)
    def test_ties_leave_a_point(self, count, value):
        shift = paired_shift([value] * count, ALPHA)
        assert shift.low == shift.ratio == shift.high == pytest.approx(math.exp(value))

    @given(st.integers(1, 60), st.floats(0, 1))
    def test_zeros_are_never_an_excess(self, count, bound):
        assert excess_probability([0.0] * count, bound) == pytest.approx(1.0)

    def test_ties_make_the_probability_larger_than_without(self):
        values = [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]
        assert excess_probability(values, 0.0) > excess_probability([value + 1e-6 for value in values], 0.0)

    @given(differences, st.randoms(), alphas)
    def test_order_does_not_matter(self, values, random_, alpha):
        shuffled = list(values)
        random_.shuffle(shuffled)
        assert paired_shift(shuffled, alpha) == paired_shift(values, alpha)
        assert excess_probability(shuffled, 0.01) == excess_probability(values, 0.01)

    @given(differences, logs, alphas)
    def test_a_constant_shifts_everything(self, values, constant, alpha):
        shift, moved = paired_shift(values, alpha), paired_shift([value + constant for value in values], alpha)
        for name in ("ratio", "low", "high"):
            expected = getattr(shift, name) * math.exp(constant)
            assert getattr(moved, name) == pytest.approx(expected, rel=1e-9)

    @given(differences, alphas)
    def test_the_other_sign_mirrors(self, values, alpha):
        shift, mirrored = paired_shift(values, alpha), paired_shift([-value for value in values], alpha)
        assert mirrored.ratio == pytest.approx(1 / shift.ratio)
        assert mirrored.high == (pytest.approx(1 / shift.low) if shift.low else math.inf)

    @given(differences, alphas, alphas)
    def test_a_smaller_alpha_widens(self, values, one, two):
        narrow, wide = paired_shift(values, max(one, two)), paired_shift(values, min(one, two))
        assert wide.low <= narrow.low <= narrow.ratio * (1 + 1e-12)
        assert narrow.ratio * (1 - 1e-12) <= narrow.high <= wide.high

    @pytest.mark.parametrize("count", [8, 15, 40])
    @pytest.mark.parametrize("truth", [0.0, 0.1])
    def test_each_end_is_wrong_as_rarely_as_it_says(self, count, truth):
        trials = 2000
        shifts = [paired_shift(values + truth, ALPHA) for values in noise(count, trials, count)]
        for wrong in (
            sum(ends(shift)[0] > truth for shift in shifts),
            sum(ends(shift)[1] < truth for shift in shifts),
        ):
            assert wrong <= scipy.stats.binom.isf(NEGLIGIBLE, trials, ALPHA)

    def test_the_interval_is_no_wider_than_it_must_be(self):
        """With many pairs the test is wrong almost exactly as often as it may be."""
        trials, count = 2000, 40
        wrong = sum(excess_probability(values, 0.0) <= ALPHA for values in noise(1, trials, count))
        assert wrong >= scipy.stats.binom.isf(1 - NEGLIGIBLE, trials, 0.9 * ALPHA)

    def test_many_pairs_do_not_underflow(self):
        values = noise(3, 1200)
        shift = paired_shift(values, ALPHA)
        assert 0.9 < shift.low < shift.ratio < shift.high < 1.1
        statistic = sum(average > 0 for average in walsh(list(values)))
        spread = math.sqrt(1200 * 1201 * 2401 / 24)
        expected = scipy.stats.norm.sf((statistic - 1200 * 1201 / 4) / spread)
        assert excess_probability(values, 0.0) == pytest.approx(expected, rel=0.01)


class TestIndependentSets:
    @pytest.mark.parametrize(("first", "second"), [(10, 10), (10, 31), (25, 18), (40, 40)])
    @pytest.mark.parametrize("alpha", [ALPHA, 0.004])
    def test_the_interval_inverts_scipys_test_to_one_difference(self, first, second, alpha):
        """The rank is rounded to the safe side, so that the interval may hold one difference too many."""
        base, candidate = noise(first, first), noise(second + 1, second) + 0.03
        low, high = ends(independent_shift(base, candidate, alpha))
        ordered = np.sort(np.subtract.outer(candidate, base), axis=None)
        following = ordered[np.searchsorted(ordered, low + 1e-9)]
        before = ordered[np.searchsorted(ordered, high - 1e-9) - 1]

        def excess(bound, alternative):
            return scipy.stats.mannwhitneyu(
                candidate - bound, base, alternative=alternative, method="asymptotic", use_continuity=False
            ).pvalue

        assert excess(low - 1e-9, "greater") <= alpha < excess(following + 1e-9, "greater")
        assert excess(high + 1e-9, "less") <= alpha < excess(before - 1e-9, "less")

    @pytest.mark.parametrize("alpha", [ALPHA, 0.01, 0.001])
    def test_with_ten_samples_it_is_no_bolder_than_the_exact_test(self, alpha):
        base, candidate = noise(1, 10), noise(2, 10)
        low, _ = ends(independent_shift(base, candidate, alpha))
        found = scipy.stats.mannwhitneyu(candidate - low + 1e-9, base, alternative="greater", method="exact").pvalue
        assert found <= alpha

    @given(many, many, alphas, st.floats(-1, 1))
    def test_an_interval_above_a_bound_and_an_improbable_excess_are_one(self, base, candidate, alpha, bound):
        low, _ = ends(independent_shift(base, candidate, alpha))
        assume(abs(low - bound) > 1e-9)
        assert (low > bound) == (independent_excess_probability(base, candidate, bound) <= alpha)

    @given(st.lists(logs, min_size=1, max_size=9), many)
    def test_fewer_than_ten_samples_exclude_nothing(self, few, enough):
        for base, candidate in ((few, enough), (enough, few)):
            shift = independent_shift(base, candidate, ALPHA)
            assert (shift.low, shift.high, shift.n) == (0.0, math.inf, len(few))
            assert independent_excess_probability(base, candidate, -100.0) == 1.0

    def test_a_level_that_ten_samples_cannot_reach_leaves_it_open(self):
        shift = independent_shift([0.0] * 10, [1.0] * 10, 1e-6)
        assert (shift.low, shift.high) == (0.0, math.inf)

    @given(many, many)
    def test_the_estimate_is_the_median_of_all_differences(self, base, candidate):
        expected = float(np.median([mine - theirs for mine in candidate for theirs in base]))
        assert math.log(independent_shift(base, candidate, ALPHA).ratio) == pytest.approx(expected, abs=1e-12)

    @given(st.integers(10, 30), st.integers(10, 30), logs)
    def test_ties_leave_a_point(self, first, second, value):
        shift = independent_shift([0.0] * first, [value] * second, ALPHA)
        assert shift.low == shift.ratio == shift.high == pytest.approx(math.exp(value))
        assert independent_excess_probability([0.0] * first, [value] * second, value) > 0.5

    @given(many, many, st.randoms(), alphas)
    def test_order_does_not_matter(self, base, candidate, random_, alpha):
        shuffled = list(base), list(candidate)
        for values in shuffled:
            random_.shuffle(values)
        assert independent_shift(*shuffled, alpha) == independent_shift(base, candidate, alpha)

    @given(many, many, logs, alphas)
    def test_a_constant_shifts_everything(self, base, candidate, constant, alpha):
        shift = independent_shift(base, candidate, alpha)
        moved = independent_shift(base, [value + constant for value in candidate], alpha)
        for name in ("ratio", "low", "high"):
            assert getattr(moved, name) == pytest.approx(getattr(shift, name) * math.exp(constant), rel=1e-9)

    @given(many, many, alphas)
    def test_the_sets_exchanged_mirror(self, base, candidate, alpha):
        shift, mirrored = independent_shift(base, candidate, alpha), independent_shift(candidate, base, alpha)
        assert mirrored.ratio == pytest.approx(1 / shift.ratio)
        assert mirrored.high == (pytest.approx(1 / shift.low) if shift.low else math.inf)

    @given(many, many, alphas, alphas)
    def test_a_smaller_alpha_widens(self, base, candidate, one, two):
        narrow, wide = (independent_shift(base, candidate, alpha) for alpha in (max(one, two), min(one, two)))
        assert wide.low <= narrow.low <= narrow.ratio * (1 + 1e-12)
        assert narrow.ratio * (1 - 1e-12) <= narrow.high <= wide.high

    @pytest.mark.parametrize(("first", "second"), [(10, 10), (15, 40)])
    @pytest.mark.parametrize("truth", [0.0, 0.1])
    def test_each_end_is_wrong_as_rarely_as_it_says(self, first, second, truth):
        trials = 2000
        samples = zip(noise(first, trials, first), noise(second + 1, trials, second), strict=True)
        shifts = [independent_shift(base, candidate + truth, ALPHA) for base, candidate in samples]
        for wrong in (
            sum(ends(shift)[0] > truth for shift in shifts),
            sum(ends(shift)[1] < truth for shift in shifts),
        ):
            assert wrong <= scipy.stats.binom.isf(NEGLIGIBLE, trials, ALPHA)
        clear = [independent_shift(base, base + truth + 1, ALPHA) for base in noise(7, 20, 40)]
        assert all(shift.low > math.exp(truth + 0.8) for shift in clear)


def rejected_by_the_textbook(probabilities, alpha):
    """Holm's procedure, word for word: step down through the ordered probabilities until one is too large."""
    rejected, left = set(), list(range(len(probabilities)))
    while left:
        smallest = min(left, key=lambda index: probabilities[index])
        if probabilities[smallest] > alpha / len(left):
            break
        rejected.add(smallest)
        left.remove(smallest)
    return rejected


class TestHolm:
    chances = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.0125, 0.05 / 3, 0.025, 0.05, 1.0])))

    @given(chances, st.sampled_from([0.05, 0.025, 0.1]))
    def test_it_rejects_what_the_textbook_rejects(self, probabilities, alpha):
        levels = holm_levels(probabilities, alpha)
        found = {index for index, level in enumerate(levels) if probabilities[index] <= level}
        assert found == rejected_by_the_textbook(probabilities, alpha)

    @given(chances, st.randoms())
    def test_order_does_not_matter(self, probabilities, random_):
        order = list(range(len(probabilities)))
        random_.shuffle(order)
        levels = holm_levels(probabilities, 0.05)
        moved = holm_levels([probabilities[index] for index in order], 0.05)
        accepted = [index for index, level in enumerate(levels) if probabilities[index] > level]
        for position, index in enumerate(order):
            if index in accepted:
                assert moved[position] == levels[index]
        assert sorted(moved) == sorted(levels)

    @given(chances.filter(bool))
    def test_levels_lie_between_bonferroni_and_none(self, probabilities):
        levels = holm_levels(probabilities, 0.05)
        assert min(levels) == 0.05 / len(probabilities)
        assert max(levels) <= 0.05

    def test_what_is_not_rejected_shares_one_level(self):
        assert holm_levels([0.5, 0.001, 0.02, 0.9], 0.05) == [0.05 / 3, 0.0125, 0.05 / 3, 0.05 / 3]

    def test_ties_are_all_rejected_or_none(self):
        assert holm_levels([0.0125] * 4, 0.05) == [0.0125, 0.05 / 3, 0.025, 0.05]
        assert holm_levels([0.013] * 4, 0.05) == [0.0125] * 4

    def test_one_alone_has_all_of_it(self):
        assert holm_levels([0.3], 0.05) == [0.05]
        assert holm_levels([], 0.05) == []

    def test_true_hypotheses_are_rejected_as_rarely_together_as_one_would_be(self):
        trials = 4000
        drawn = np.random.default_rng(5).random((trials, 6))
        drawn[:, 3:] *= 1e-4  # half of them are false, and found
        wrong = sum(
            any(chance <= level for chance, level in zip(row[:3], holm_levels(list(row), 0.05)[:3], strict=True))
            for row in drawn
        )
        assert scipy.stats.binom.isf(1 - NEGLIGIBLE, trials, 0.03) <= wrong
        assert wrong <= scipy.stats.binom.isf(NEGLIGIBLE, trials, 0.05)
