"""What a long run says of itself: lines, or a terminal."""

import io
import os
import re
import sys
import threading
from contextlib import contextmanager

import pytest
from rich.console import Console

from bench.measure.runner import Runner
from bench.plan.cell import BASELINE
from bench.progress import announce, make_progress, open_display
from bench.progress.remaining import Remaining
from bench.progress.samples import SampleProgress
from tests.bench.progress.clocks import DISTURBED, FAILED, FINE, NAMES, UNVERIFIED, Clock, executor_of
from tests.bench.support import fakes

BASELINE_FIRST = 6
"""A seed with which the reference comes first in each of three rounds of two cells."""


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
