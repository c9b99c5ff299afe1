"""The load test: arrivals, checks, figures and options."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.load.arrivals import poisson_arrivals_ns, text_order
from bench.load.checking import TOLERANCE, References, far_apart
from bench.load.observations import OUTCOMES, UNANSWERED, empty, joined
from bench.load.records import MemorySample, Phase
from bench.load.summary import MIN_BEYOND, answers_per_s, memory_over_time, quantile, ratios, summarise
from tests.bench.load.small import SMALL, requests
from tests.bench.support import load_targets

pytestmark = pytest.mark.process


def phase_of(name, found, number=0, **more):
    return Phase(name, number, "ok", counts=found.counts, raw="x", **more), found


class TestArrivals:
    @given(st.floats(0.5, 500), st.floats(0.1, 20), st.integers(0, 2**32 - 1))
    def test_are_in_order_in_time_and_repeatable(self, rate, seconds, seed):
        moments = poisson_arrivals_ns(rate, seconds, seed)
        assert (np.diff(moments) >= 0).all()
        assert ((moments >= 0) & (moments <= seconds * 1e9)).all()
        assert (moments == poisson_arrivals_ns(rate, seconds, seed)).all()
        # Six standard deviations of a Poisson distribution, and a few for small means.
        assert abs(len(moments) - rate * seconds) <= 6 * math.sqrt(rate * seconds) + 12

    def test_gaps_are_exponential(self):
        from scipy.stats import kstest

        gaps = np.diff(poisson_arrivals_ns(100.0, 100.0, 7)) / 1e9
        assert kstest(gaps, "expon", args=(0, 0.01)).pvalue > 0.001

    def test_seeds_differ(self):
        one, other = poisson_arrivals_ns(100.0, 1.0, 1), poisson_arrivals_ns(100.0, 1.0, 2)
        assert len(one) != len(other) or (one != other).any()

    @given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 99))
    def test_each_text_is_asked_for_as_often_as_the_others(self, count, texts, seed):
        order = text_order(count, texts, seed)
        assert len(order) == count
        often = np.bincount(order, minlength=texts)
        assert often.max() - often.min() <= 1
        assert (order == text_order(count, texts, seed)).all()


class TestChecking:
    def test_texts_with_the_same_vector_are_left_out_but_the_first(self):
        vectors = np.stack([load_targets.vector_of(name) for name in "abc"])
        vectors = np.concatenate([vectors, vectors[1:2] + np.float32(TOLERANCE)])
        assert far_apart(vectors).tolist() == [True, True, True, False]

    @given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 40))
    def test_what_is_accepted_is_nearest_to_its_own_reference(self, seed, count, dimension):
        random = np.random.default_rng(seed)
        vectors = random.normal(size=(count, dimension)).astype("<f4") * np.float32(10.0 ** random.uniform(-5, 0))
        kept = vectors[far_apart(vectors)]
        references = References(kept)
        for index, vector in enumerate(kept):
            noise = random.choice([-1, 1], dimension) * TOLERANCE * random.uniform(0, 2)
            answer = (vector + noise).astype("<f4")
            if not references.fault(index, answer.tobytes()):
                assert np.linalg.norm(kept.astype(float) - answer, axis=1).argmin() == index

    def test_what_is_wrong_is_told(self):
        vectors = np.stack([load_targets.vector_of(name) for name in "abc"])
        references = References(vectors)
        assert references.fault(0, vectors[0].tobytes()) == ""
        assert references.fault(0, (vectors[0] + np.float32(TOLERANCE / 2)).tobytes()) == ""
        assert "another text" in references.fault(0, vectors[1].tobytes())
        assert "no text" in references.fault(0, (vectors[0] * np.float32(1.1)).tobytes())
        assert "not a number" in references.fault(0, np.full(16, np.nan, "<f4").tobytes())
        assert "60 bytes instead of 64" in references.fault(0, vectors[0].tobytes()[:-4])
        assert "list" in references.fault(0, vectors[0].tolist())


class TestSummary:
    @given(st.lists(st.integers(0, 10**9), max_size=3000), st.sampled_from([500, 900, 990, 999]))
    def test_a_quantile_is_a_value_with_enough_beyond_or_nothing(self, values, permille):
        found = quantile(np.array(values, np.int64), permille)
        if len(values) * (1000 - permille) < MIN_BEYOND * 1000:
            assert found is None
        else:
            assert found in values
            assert sum(value <= found for value in values) * 1000 >= permille * len(values)
            assert sum(value < found for value in values) * 1000 <= permille * len(values)

    def test_the_99_percent_quantile_takes_a_thousand_samples(self):
        assert quantile(np.arange(999), 990) is None
        assert quantile(np.arange(1000), 990) == 989

    def test_latency_begins_when_a_request_was_due(self):
        found = requests([0, 1, 2], took_ms=5, waited_ms=100)
        assert (found.latencies_ns // 1_000_000).tolist() == [105, 105, 105]

    def test_only_right_answers_count(self):
        right, wrong = requests(range(30), 1), requests(range(30, 60), 500, outcome=OUTCOMES.index("wrong"))
        (load,) = summarise([phase_of("closed", joined([right, wrong]))])
        assert load.counts["ok"] == load.counts["wrong"] == 30
        assert load.latencies_ms[500] < 2
        assert "30 wrong" in load.remarks

    def test_no_right_answer(self):
        assert answers_per_s(empty(3)) is None
        (load,) = summarise([phase_of("closed", empty(3))])
        assert load.answers_per_s is None
        assert load.remarks == ("3 unanswered",)

    def test_ratios_are_formed_within_rounds(self):
        measured = []
        for number, (service_ms, serial_ms) in enumerate([(1, 2), (10, 40), (1, 3)]):
            measured.append(phase_of("closed", requests([0], service_ms), number))
            measured.append(phase_of("serial", requests([0], serial_ms), number))
            measured.append(phase_of("batch", requests([0], 2 * serial_ms), number))
        measured.append(phase_of("closed", requests([0], 1), 3))  # a round whose others failed
        found = ratios(measured)
        assert found["serial"].median == pytest.approx(3, rel=1e-3)
        assert (found["serial"].lowest, found["serial"].highest) == pytest.approx((2, 4), rel=1e-3)
        assert found["best"] == found["serial"]
        assert found["batch"].median == pytest.approx(6, rel=1e-3)
        assert "threads" not in found

    def test_a_generator_that_falls_behind_is_flagged(self):
        due = range(0, 2000, 1)
        on_time = phase_of("open", requests(due, 5, late_ms=0.1), offered_per_s=1000.0, seconds=2.0, clients=64)
        late = phase_of("open", requests(due, 5, late_ms=4), offered_per_s=1000.0, seconds=2.0, clients=64)
        assert summarise([on_time])[0].remarks == ()
        assert summarise([late])[0].remarks == ("the generator fell behind",)
        # Clients that were all busy are not the generator's fault.
        busy = phase_of("open", requests(due, 5, waited_ms=4), offered_per_s=1000.0, seconds=2.0, clients=64)
        (load,) = summarise([busy])
        assert load.remarks == ()
        assert load.waited == 1.0

    def test_answers_that_do_not_keep_up_are_flagged(self):
        due = np.arange(0, 1000, 1.0)
        found = requests(due, due)  # each takes as long as the time that has passed
        (load,) = summarise([phase_of("open", found, offered_per_s=1000.0, seconds=1.0, clients=4)])
        assert load.remarks == ("answers did not keep up in 1 of 1 rounds",)

    @given(st.permutations(range(6)))
    def test_the_order_of_records_makes_no_difference(self, order):
        measured = [
            phase_of("open" if number > 2 else "closed", requests(range(20), number + 1), number % 3,
                     offered_per_s=50.0 if number > 2 else None, seconds=1.0)
            for number in range(6)
        ]  # fmt: skip
        assert summarise([measured[place] for place in order]) == summarise(measured)


class TestMemory:
    @staticmethod
    def samples(per_answer, count=40, noise=0):
        random = np.random.default_rng(3)
        return [
            MemorySample(at * 1_000_000_000, 200_000_000, int(100_000_000 + per_answer * at * 100 + random.integers(0,
            noise + 1))) for at in range(1, count)
        ]  # fmt: skip

    # A hundred answers a second for 40 s.
    measured = (phase_of("closed", requests(np.arange(0, 40_000, 10.0), 1)),)

    @pytest.mark.parametrize(("per_answer", "flat"), [(0, True), (50, True), (5000, False)])
    def test_growth(self, per_answer, flat):
        found = memory_over_time(self.measured, self.samples(per_answer, noise=1000), "closed")
        assert found.is_flat is flat
        assert found.per_1000_bytes == pytest.approx(per_answer * 1000, abs=2000)
        assert found.kind == "rss_anon_bytes"

    def test_a_single_spike_moves_nothing(self):
        samples = self.samples(0)
        samples[5] = replace(samples[5], rss_anon_bytes=10**9)
        assert memory_over_time(self.measured, samples, "closed").per_1000_bytes == pytest.approx(0, abs=1)

    def test_what_is_taken_while_nobody_asks_does_not_count(self):
        later = [replace(sample, at_ns=sample.at_ns + 10**12) for sample in self.samples(0)]
        assert memory_over_time(self.measured, later, "closed") is None
        local = tuple((replace(phase, name="serial"), found) for phase, found in self.measured)
        assert memory_over_time(local, self.samples(0), "closed") is None

    def test_without_what_is_its_own(self):
        samples = [replace(sample, rss_anon_bytes=None) for sample in self.samples(0)]
        assert memory_over_time(self.measured, samples, "closed").kind == "rss_bytes"


class TestOptions:
    @pytest.mark.parametrize(
        "changes",
        [
            {"clients": 0}, {"requests": -1}, {"rounds": 0}, {"seconds": 0.0}, {"seconds": math.nan}, {"rates": (0.0,)},
            {"fractions": (math.inf,)}, {"phases": ()}, {"phases": ("closed", "x")}, {"processes": 5},
            {"phases": ("open",), "rates": ()},
        ],
    )  # fmt: skip
    def test_what_cannot_be_meant(self, changes):
        with pytest.raises(ConfigError):
            replace(SMALL, **changes)


def test_nothing_is_unanswered_by_default():
    assert empty(2).counts == {**dict.fromkeys(OUTCOMES, 0), OUTCOMES[UNANSWERED]: 2}
