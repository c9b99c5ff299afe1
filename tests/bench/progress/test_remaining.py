"""What a long run says of itself: the time left."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measure.runner import Runner
from bench.plan.cell import BASELINE, INSTRUMENTS
from bench.plan.plan import MIN_ROUNDS
from bench.progress import wording
from bench.progress.remaining import WATCHED, Remaining
from tests.bench.progress.clocks import DISTURBED, FAILED, FINE, NAMES, UNVERIFIED, Clock, executor_of
from tests.bench.support import fakes

UNSUPPORTED = fakes.make_outcome({"status": "unsupported", "message": "no CUDA"})


class Estimates(Remaining):
    """Remembers what it said, and when, after each begin and end of a sample."""

    def __init__(self, plan, clock):
        super().__init__(plan, clock)
        self.clock, self.said = clock, []

    def sample_begins(self, slot):
        super().sample_begins(slot)
        self.said.append((self.clock(), self.seconds()))

    def sample_ended(self, record):
        super().sample_ended(record)
        self.said.append((self.clock(), self.seconds()))


def cells_of(count):
    return [fakes.make_cell(name) for name in NAMES[:count]]


def estimates_of(plan, seconds, outcome=lambda slot: FINE, done=()):
    clock = Clock()
    estimates = Estimates(plan, clock)
    Runner(plan, executor_of(clock, seconds, outcome), lambda record: None, estimates, clock, done=done).run()
    return estimates


@st.composite
def plans(draw, **fixed):
    return fakes.make_plan(
        *cells_of(draw(st.integers(1, 4))),
        warmup_rounds=draw(st.integers(0, 2)),
        rounds=draw(st.integers(1, 9)),
        budget_s=draw(st.integers(0, 150)) + 0.5,
        passes=draw(st.lists(st.sampled_from(INSTRUMENTS), unique=True)),
        **fixed,
    )


SECONDS = st.fixed_dictionaries({name: st.integers(1, 20) for name in NAMES})


class TestRemaining:
    @settings(deadline=None)
    @given(plans(), SECONDS)
    def test_it_is_right_when_samples_take_what_they_took(self, plan, seconds):
        """Whatever ends the run: its rounds, the budget, or the least number of rounds."""
        estimates = estimates_of(plan, seconds)
        end_s, round_s = estimates.clock(), sum(seconds[cell.strategy] for cell in plan.cells)
        unknown = 2 * len(plan.cells) - 1
        assert [left_s for _, left_s in estimates.said[:unknown]] == [None] * unknown, "before each cell was tried"
        left = [left_s for _, left_s in estimates.said[unknown:]]
        assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(left))
        for now_s, left_s in estimates.said[unknown:]:
            # A round that has begun is finished, whatever the budget.
            assert left_s == pytest.approx(end_s - now_s, abs=round_s)
            if plan.protocol.budget_s >= end_s:
                assert left_s == pytest.approx(end_s - now_s, abs=1e-6)
        assert estimates.seconds() == 0

    @settings(deadline=None)
    @given(plans(max_reruns=0.5), SECONDS, st.data())
    def test_it_is_never_negative_and_ends_at_0(self, plan, seconds, data):
        outcomes = st.sampled_from([FINE, FINE, DISTURBED, FAILED, UNSUPPORTED, UNVERIFIED])
        estimates = estimates_of(plan, seconds, lambda slot: data.draw(outcomes))
        assert all(left_s is None or left_s >= 0 for _, left_s in estimates.said)
        assert estimates.seconds() == 0

    @settings(deadline=None)
    @given(st.integers(1, 500), SECONDS)
    def test_rounds_beyond_the_budget_are_not_counted(self, budget_s, seconds):
        plan = fakes.make_plan(*cells_of(4), rounds=100, warmup_rounds=1, budget_s=budget_s)
        round_s = sum(seconds.values())
        for now_s, left_s in estimates_of(plan, seconds).said[8:]:
            assert left_s <= max(budget_s - now_s, MIN_ROUNDS * round_s)

    def test_what_the_machine_cannot_do_is_not_waited_for(self):
        def outcome(slot):
            return UNSUPPORTED if slot.cell.is_baseline else FINE

        plan = fakes.make_plan(rounds=3, warmup_rounds=1)
        estimates = estimates_of(plan, {BASELINE: 1, "lazy": 10}, outcome)
        assert [left_s for _, left_s in estimates.said][3:] == [33, 33, 23, 20, 10, 10, 0], "until it is skipped"

    def test_a_disturbed_sample_is_expected_again(self):
        def outcome(slot):
            return DISTURBED if slot.round == 1 and not slot.attempt else FINE

        plan = fakes.make_plan(fakes.make_cell("lazy"), rounds=4, warmup_rounds=1, max_reruns=0.2)
        left = [left_s for _, left_s in estimates_of(plan, {"lazy": 10}, outcome).said]
        # After the warm-up; after the disturbed sample; when its repetition begins; the others
        assert left == [None, 40, 40, 30, 40, 30, 30, 20, 20, 10, 10, 0]

    def test_one_odd_sample_does_not_matter(self):
        plan, clock = fakes.make_plan(fakes.make_cell("lazy"), rounds=10, warmup_rounds=0), Clock()
        estimates, times = Estimates(plan, clock), itertools.chain([10, 10, 300], itertools.repeat(10))

        def execute(slot):
            clock.now_s += next(times)
            return FINE

        Runner(plan, execute, lambda record: None, estimates, clock).run()
        assert [left_s for _, left_s in estimates.said][5::2] == [70, 60, 50, 40, 30, 20, 10, 0]

    def test_a_resumed_run_knows_at_once(self):
        plan = fakes.make_plan(fakes.make_cell("lazy"), rounds=100, warmup_rounds=0, budget_s=2.0)
        done = [fakes.make_record(plan.cells[0], number) for number in range(4)]  # 0.2 s each
        estimates = Remaining(plan, Clock())
        for record in done:
            estimates.sample_ended(record)
        assert estimates.seconds() == pytest.approx(2.0 - 4 * 0.2)

    def test_watched_samples_take_as_much_longer_as_foreseen(self):
        assert set(WATCHED) == set(INSTRUMENTS)
        plan = fakes.make_plan(rounds=1, warmup_rounds=0, passes=["memray"])
        whole = []
        Runner(plan, executor_of(Clock(), dict.fromkeys(NAMES, 1)), whole.append, fakes.Recorder(), lambda: 0.0).run()
        estimates = Remaining(plan, Clock())
        for record in whole[:3]:
            estimates.sample_ended(record)
        assert estimates.seconds() == pytest.approx(4.0 * 0.2 + 0.7)

    def test_with_a_precision_it_is_a_limit_until_no_round_is_left(self):
        class Words(Estimates):
            def seconds(self):
                return 100.0

            def sample_ended(self, record):
                super().sample_ended(record)
                self.said.append(self.in_words())

        def words(precision):
            clock, plan = Clock(), fakes.make_plan(rounds=2, warmup_rounds=0, passes=["memray"], precision=precision)
            estimates = Words(plan, clock)
            Runner(plan, executor_of(clock, dict.fromkeys(NAMES, 1)), lambda record: None, estimates, clock).run()
            return [text for text in estimates.said if isinstance(text, str)]

        assert words(0.01) == ["at most 1 min 40 s left"] * 3 + ["about 1 min 40 s left"] * 3
        assert words(None) == ["about 1 min 40 s left"] * 6


class TestWording:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (3661, "1 h 1 min")],
    )
    def test_durations(self, seconds, text):
        assert wording.duration(seconds) == text

    @settings(deadline=None)
    @given(st.text())
    def test_a_line_is_one_line_that_steers_no_terminal(self, text):
        line = wording.one_line(text)
        assert line.isprintable()
        assert [char for char in line if char.isalnum()] == [char for char in text if char.isalnum()]
