"""What a long run says of itself: the time left, the bar, the lines, and nothing if that was asked for."""

import io
import itertools
import os
import re
import sys
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.measure.noise import Noise
from bench.measure.runner import Runner
from bench.plan.cell import BASELINE, INSTRUMENTS
from bench.plan.plan import MIN_ROUNDS
from bench.progress import announce, make_progress, open_display, wording
from bench.progress.remaining import WATCHED, Remaining
from bench.progress.samples import SampleProgress
from tests.bench.support import fakes

BASELINE_FIRST = 6
"""A seed with which the reference comes first in each of three rounds of two cells."""

NAMES = (BASELINE, "lazy", "background", "cached")
FINE = fakes.make_outcome(fakes.make_answer())
FAILED = fakes.make_outcome({"status": "failed", "message": "ValueError: no"})
UNSUPPORTED = fakes.make_outcome({"status": "unsupported", "message": "no CUDA"})
UNVERIFIED = fakes.make_outcome(fakes.make_answer(), unverified="in memory")
DISTURBED = fakes.make_outcome(fakes.make_answer(), noise=Noise(foreign_cpu=0.9))


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


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


def executor_of(clock, seconds, outcome=lambda slot: FINE):
    """Samples that take their cell's seconds, watched ones as much more as foreseen."""

    def execute(slot):
        factor, more_s = WATCHED[slot.instrument] if slot.instrument else (1, 0)
        clock.now_s += seconds[slot.cell.strategy] * factor + more_s
        return outcome(slot)

    return execute


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


def measure(plan, display, clock, seconds, outcome=lambda slot: FINE, done=()):
    """Run a plan whose samples take these seconds; return what sums it up."""
    remaining = Remaining(plan, clock)
    with display(time_left=remaining.in_words) as shown:
        progress = SampleProgress(plan, shown, remaining, clock)
        execute = executor_of(clock, seconds, outcome)
        Runner(plan, execute, lambda record: None, progress, clock, done=done, processors=2).run()
    return progress.summary()


def plain(plan, seconds, outcome=lambda slot: FINE, done=(), **console):
    """Return the lines of a run where there is no terminal, and its sum."""
    clock, stream = Clock(), io.StringIO()

    def display(time_left):
        shown_on = Console(file=stream, **console)
        return open_display(plan.sample_count, quiet=False, time_left=time_left, clock=clock, console=shown_on)

    summary = measure(plan, display, clock, seconds, outcome, done)
    return stream.getvalue(), summary


class TestPlain:
    def test_a_line_for_each_sample_and_the_time_left(self):
        plan = fakes.make_plan(rounds=2, passes=["memray"], seed=BASELINE_FIRST)
        text, summary = plain(plan, {BASELINE: 12, "lazy": 3})
        assert text.splitlines() == [
            "[1/8] warm-up 1 of 1  baseline/minilm/cpu/idle  100 ms",
            "[2/8] warm-up 1 of 1  lazy/auto/minilm/cpu/idle  100 ms  about 1 min 31 s left",
            "[3/8] round 1 of 2  baseline/minilm/cpu/idle  100 ms  about 1 min 19 s left",
            "[4/8] round 1 of 2  lazy/auto/minilm/cpu/idle  100 ms  about 1 min 16 s left",
            "[5/8] round 2 of 2  baseline/minilm/cpu/idle  100 ms  about 1 min 4 s left",
            "[6/8] round 2 of 2  lazy/auto/minilm/cpu/idle  100 ms  about 1 min 1 s left",
            "[7/8] memray  baseline/minilm/cpu/idle  done  about 13 s left",
            "[8/8] memray  lazy/auto/minilm/cpu/idle  done",
        ]
        assert summary == "measured 8 samples in 1 min 46 s"

    def test_problems_repetitions_and_what_is_left_out(self):
        def outcome(slot):
            if slot.cell.strategy == "lazy":
                return FAILED
            return DISTURBED if slot.round == 1 and not slot.attempt else FINE

        text, summary = plain(fakes.make_plan(rounds=2, seed=BASELINE_FIRST), {BASELINE: 1, "lazy": 1}, outcome)
        lines = [line for line in text.splitlines() if "baseline" in line]
        assert lines[1].startswith("[3/6] round 1 of 2  baseline/minilm/cpu/idle  100 ms  (disturbed: other processes")
        assert lines[2] == "[5/7] round 1 of 2 again  baseline/minilm/cpu/idle  100 ms  about 2 s left"
        failed = [line for line in text.splitlines() if "lazy" in line]
        assert [line[6:] for line in failed] == [
            "warm-up 1 of 1  lazy/auto/minilm/cpu/idle  failed: ValueError: no  about 4 s left",
            "round 1 of 2  lazy/auto/minilm/cpu/idle  failed: ValueError: no  about 2 s left",
        ]
        assert text.splitlines()[-1].startswith("[6/7] round 2 of 2  baseline")
        assert summary == "measured 6 samples in 6 s, 1 disturbed, 2 not valid"

    def test_samples_from_before_the_interruption_are_counted_not_shown(self):
        plan = fakes.make_plan(fakes.make_cell("lazy"), rounds=3, warmup_rounds=0)
        done = [fakes.make_record(plan.cells[0], number) for number in range(2)]
        text, summary = plain(plan, {"lazy": 1}, done=done)
        assert text == "[3/3] round 3 of 3  lazy/auto/minilm/cpu/idle  100 ms\n"
        assert summary == "measured 1 sample in 1 s"

    def test_a_budget_that_is_spent_is_seen_in_the_sum(self):
        plan = fakes.make_plan(fakes.make_cell("lazy"), rounds=9, warmup_rounds=0, budget_s=40)
        assert plain(plan, {"lazy": 10})[1] == "measured 4 samples in 40 s, 4 of 9 rounds"

    @pytest.mark.parametrize("environ", [{"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "40"}])
    def test_no_setting_brings_control_characters_or_broken_lines(self, environ):
        message = "\x1b[31m evil\r :smile: [b]bold[/b]\nsecond line " + "long " * 30
        failing = fakes.make_outcome({"status": "failed", "message": message})
        text, _ = plain(fakes.make_plan(rounds=1), dict.fromkeys(NAMES, 1), lambda slot: failing, _environ=environ)
        assert all(line.isprintable() for line in text.splitlines())
        assert len(text.splitlines()) == text.count("[") - 2 * text.count("[b]") - text.count("[31m") == 4
        assert ":smile: [b]bold[/b]" in text

    def test_pieces_of_which_nothing_is_known_take_as_long_as_the_others(self):
        clock, stream = Clock(), io.StringIO()
        with open_display(6, quiet=False, clock=clock, console=Console(file=stream)) as display:
            for seconds in (30, 40, 50, 36, 40, 40):
                display.begin("x")
                clock.now_s += seconds
                display.end("cell", is_problem=False)
        assert stream.getvalue().splitlines() == [
            "[1/6] cell",
            "[2/6] cell  about 2 min 40 s left",
            "[3/6] cell  about 2 min 15 s left",
            "[4/6] cell  about 1 min 24 s left",
            "[5/6] cell  about 42 s left",
            "[6/6] cell",
        ]


class TestQuiet:
    def test_nothing_is_printed(self, capfd):
        plan = fakes.make_plan(rounds=2)
        with make_progress(plan, quiet=True) as progress:
            Runner(plan, lambda slot: FAILED, lambda record: None, progress).run()
        with open_display(1, quiet=True) as display:
            display.begin("x")
            display.end("x", is_problem=True)
        announce("x", quiet=True)
        assert capfd.readouterr() == ("", "")

    def test_otherwise_it_is_on_stderr(self, capfd):
        plan = fakes.make_plan(rounds=1, warmup_rounds=0)
        announce("preparing [b]x[/b]", quiet=False)
        with make_progress(plan, quiet=False) as progress:
            Runner(plan, lambda slot: FINE, lambda record: None, progress).run()
        out, err = capfd.readouterr()
        lines = err.splitlines()
        assert out == ""
        assert lines[0] == "preparing [b]x[/b]"
        assert [line[:5] for line in lines[1:3]] == ["[1/2]", "[2/2]"]
        assert re.fullmatch(r"measured 2 samples in \d+ s", lines[3])

    def test_a_failing_harness_is_not_summed_up(self, capfd):
        with pytest.raises(OSError, match="full"), make_progress(fakes.make_plan(), quiet=False):
            raise OSError("full")
        assert capfd.readouterr() == ("", "")


class Screen:
    """What a terminal shows that got this text: lines, and which of them are red."""

    SEQUENCE = re.compile(r"\x1b\[\??([0-9;]*)([A-Za-z])|([^\x1b])")

    def __init__(self):
        self.lines, self.red, self.row, self.column = [""], set(), 0, 0

    def feed(self, text):
        for match in self.SEQUENCE.finditer(text):
            arguments, command, char = match.groups()
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            elif char:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
                self.column += 1
            elif command == "A":
                self.row = max(self.row - int(arguments or 1), 0)
            elif command == "K":
                self.lines[self.row] = ""
                self.red.discard(self.row)
            elif command == "m" and arguments == "31":
                self.red.add(self.row)
            else:
                assert command in "mhl", match[0]
        return self


@contextmanager
def terminal(width, **environ):
    """Yield a console on a pseudo-terminal, and a list that gets what it showed."""
    master, slave = os.openpty()
    parts, shown = [], []

    def read():
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with open(slave, "w", encoding="utf-8") as stream:
        variables = {"TERM": "xterm-256color", **environ}
        yield Console(file=stream, width=width, height=24, _environ=variables), shown
    reader.join()
    os.close(master)
    shown.append(b"".join(parts).decode())


def on_terminal(plan, seconds, outcome=lambda slot: FINE, width=80, **environ):
    """Return everything that a run writes to a terminal."""
    clock = Clock()
    with terminal(width, **environ) as (console, shown):

        def display(time_left):
            return open_display(plan.sample_count, quiet=False, time_left=time_left, clock=clock, console=console)

        measure(plan, display, clock, seconds, outcome)
    return shown[0]


def pictures(text):
    """Return the screen at each moment at which the bar stands there."""
    cut = [match.start() for match in re.finditer(r"\r\x1b\[2K|\x1b\[\?25h", text)]
    return [[line for line in Screen().feed(text[:end]).lines if line] for end in cut]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
class TestTerminal:
    def test_the_bar_shows_round_cell_and_time_left(self):
        plan = fakes.make_plan(rounds=2, seed=BASELINE_FIRST)
        shown = pictures(on_terminal(plan, {BASELINE: 12, "lazy": 3}))
        first = [[line.strip("━╸╺ ") for line in lines] for lines in shown if " 0/6 " in lines[0]]
        assert first[0] == ["0/6 0:00:00", "preparing"]
        assert first[-1] == ["0/6 0:00:00", "warm-up 1 of 1  baseline/minilm/cpu/idle"]
        before = next(lines for lines in reversed(shown) if " 5/6 " in lines[0])
        assert before[0].endswith("━ 5/6 0:00:42 about 3 s left")
        assert shown[-1][0].rstrip().endswith("━ 6/6 0:00:45")
        assert before[1] == shown[-1][1] == "round 2 of 2  lazy/auto/minilm/cpu/idle"

    def test_in_the_end_only_problems_stay_each_once(self):
        def outcome(slot):
            return FINE if slot.cell.is_baseline else UNVERIFIED

        text = on_terminal(fakes.make_plan(rounds=5), dict.fromkeys(NAMES, 1), outcome)
        screen = Screen().feed(text)
        assert [line for line in screen.lines if line] == [
            "warm-up 1 of 1  lazy/auto/minilm/cpu/idle  unverified: in memory",
        ]
        assert screen.red == {0}
        assert all(Screen().feed(text[:end]).red <= {0} for end in range(0, len(text), 50)), "the bar is not red"

    def test_the_cursor_is_back(self):
        text = on_terminal(fakes.make_plan(rounds=1), dict.fromkeys(NAMES, 1))
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")

    def test_disturbed_samples_are_counted(self):
        def outcome(slot):
            return DISTURBED if slot.round == 1 else FINE

        shown = pictures(on_terminal(fakes.make_plan(rounds=2, max_reruns=0.0), dict.fromkeys(NAMES, 1), outcome))
        assert shown[-1][1] == "round 2 of 2  lazy/auto/minilm/cpu/idle  (2 disturbed so far)"

    @pytest.mark.parametrize("width", [5, 20, 40, 47, 80, 300])
    def test_no_line_is_longer_than_the_terminal(self, width):
        cells = [fakes.make_cell(BASELINE), fakes.make_cell("lazy", model_key="模型" * 30)]
        text = on_terminal(fakes.make_plan(*cells, rounds=2), dict.fromkeys(NAMES, 100), width=width)
        drawn = [line for lines in pictures(text) for line in lines]
        assert max(len(line) for line in drawn) <= width
        assert all(len(lines) == 2 for lines in pictures(text))
        if width >= 40:
            assert any("left" in line for line in drawn)

    def test_hostile_text_does_not_steer_it(self):
        outcome = fakes.make_outcome({"status": "failed", "message": "\x1b[2J\x07 a\rb\x9b31m"})
        text = on_terminal(fakes.make_plan(rounds=1), dict.fromkeys(NAMES, 1), lambda slot: outcome)
        assert "failed: ?[2J? a b?31m" in text
        assert "\x1b[2J" not in text

    def test_no_color_means_no_colour(self):
        text = on_terminal(fakes.make_plan(rounds=1), dict.fromkeys(NAMES, 1), lambda slot: FAILED, NO_COLOR="1")
        colours = [code for codes in re.findall(r"\x1b\[([0-9;]*)m", text) for code in codes.split(";")]
        assert not [code for code in colours if code and 30 <= int(code) <= 107]
        assert "\x1b[2K" in text, "it is drawn all the same"

    @pytest.mark.parametrize(
        "environ", [{"TERM": "dumb", "TTY_INTERACTIVE": "1"}, {"TTY_INTERACTIVE": "0"}, {"TTY_COMPATIBLE": "0"}]
    )
    def test_a_terminal_that_cannot_be_drawn_on_gets_lines(self, environ):
        text = on_terminal(fakes.make_plan(rounds=1), dict.fromkeys(NAMES, 1), lambda slot: FAILED, **environ)
        assert "\x1b" not in text
        assert [line[:5] for line in text.split("\r\n")] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]", ""]

    def test_nothing_is_drawn_while_a_sample_runs(self):
        """All that is drawn is drawn by the thread that starts the samples, when it is told something."""
        plan, before = fakes.make_plan(rounds=1), threading.active_count()
        counts = []

        def outcome(slot):
            counts.append(threading.active_count())
            return FINE

        on_terminal(plan, dict.fromkeys(NAMES, 1), outcome)
        assert set(counts) == {before + 1}, "the one that reads the pseudo-terminal"

    def test_an_interruption_leaves_the_terminal_as_it_was(self):
        def interrupted(console):
            with open_display(4, quiet=False, console=console) as display:
                display.begin("x")
                raise KeyboardInterrupt

        with terminal(80) as (console, shown), pytest.raises(KeyboardInterrupt):
            interrupted(console)
        assert not [line for line in Screen().feed(shown[0]).lines if line]
        assert shown[0].count("\x1b[?25l") == shown[0].count("\x1b[?25h") == 1
