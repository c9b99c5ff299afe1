"""Where progress is shown: a bar on a terminal, lines elsewhere, or nowhere."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.progress import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    TimeLeft = Callable[[], str | None]
    """What is left in words, "" for nothing, None where that is not known yet."""

SAY_EVERY_S = 10.0
"""Where there is no terminal, the time left is added to a line this often, and where another part begins."""

ENOUGH_PIECES = 3
"""Pieces of work from which the others are guessed: of fewer, one odd piece decides."""

BAR_COLUMNS = (8, 40)
"""How long the bar is, at least and at most; a terminal with less space for it gets none."""


class Display(Protocol):
    """Shows one piece of work after the other."""

    def part(self) -> None:
        """Another part of the work begins, such as a round."""

    def begin(self, text: str, note: str = "") -> None:
        """Say what is being done, and what else is to be known."""

    def end(self, text: str, *, is_problem: bool, problem: str = "") -> None:
        """Say what became of it, and move on.

        Args:
            text: the result.
            is_problem: whether it is none.
            problem: what is the same if this problem comes again; the text if not given.
        """

    def skip(self, pieces: int = 1) -> None:
        """Take pieces out of what is left; a negative number adds some."""

    def was_done(self) -> None:
        """Count a piece that was done before all this began."""


@contextmanager
def open_display(
    total: int,
    *,
    quiet: bool,
    time_left: TimeLeft | None = None,
    clock: Callable[[], float] = time.monotonic,
    console: Console | None = None,
) -> Iterator[Display]:
    """Show the progress of ``total`` pieces of work, or nothing if ``quiet``.

    Args:
        total: how many pieces there are.
        quiet: whether to show nothing.
        time_left: tells how long the rest takes; by default each piece takes the median of those done.
        clock: seconds; injected for tests.
        console: where to; stderr by default.
    """
    if quiet:
        yield NoDisplay()
        return
    console = console or Console(stderr=True)
    work = Work(total, clock, time_left)
    if not can_draw(console):
        yield PlainDisplay(console, work)
        return
    # Drawn when told to only, and by this thread; what is left at the end are the problems.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        display = TerminalDisplay(live, work)
        yield display
    display.show_repeated()


def announce(text: str, *, quiet: bool) -> None:
    """Say on stderr what takes a while outside of the samples, or what became of it."""
    if not quiet:
        _print(Console(stderr=True), text)


def can_draw(console: Console) -> bool:
    """Whether a display can move: not in a file or pipe, whatever FORCE_COLOR says, and not on a dumb terminal."""
    return console.is_terminal and console.is_interactive and not console.is_dumb_terminal and console.file.isatty()


class Work:
    """How many pieces are done of how many, since when, and how long the others may take."""

    def __init__(self, total: int, clock: Callable[[], float], time_left: TimeLeft | None) -> None:
        self.total = total
        self.done = 0
        self.clock = clock
        self.time_left = time_left or self._like_the_others
        self._begun_s = self._piece_begun_s = clock()
        self._pieces_s: list[float] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return self.clock() - self._begun_s

    def begins(self) -> None:
        """Look at the clock."""
        self._piece_begun_s = self.clock()

    def ends(self) -> None:
        """Count the piece."""
        self.done += 1
        self._pieces_s.append(self.clock() - self._piece_begun_s)

    def _like_the_others(self) -> str | None:
        if len(self._pieces_s) < ENOUGH_PIECES:
            return None
        return wording.time_left(statistics.median(self._pieces_s) * (self.total - self.done))


class NoDisplay:
    """Says nothing."""

    def part(self) -> None:
        """Say nothing."""

    def begin(self, text: str, note: str = "") -> None:
        """Say nothing."""

    def end(self, text: str, *, is_problem: bool, problem: str = "") -> None:
        """Say nothing."""

    def skip(self, pieces: int = 1) -> None:
        """Say nothing."""

    def was_done(self) -> None:
        """Say nothing."""


class PlainDisplay:
    """A line per finished piece of work; now and then it ends with how long the rest takes."""

    def __init__(self, console: Console, work: Work) -> None:
        self._console = console
        self._work = work
        self._said_s: float | None = None

    def part(self) -> None:
        """Make the next line end with the time left."""
        self._said_s = None

    def begin(self, text: str, note: str = "") -> None:  # noqa: ARG002 - the display's protocol
        """Say nothing: the line comes with the result."""
        self._work.begins()

    def end(self, text: str, *, is_problem: bool, problem: str = "") -> None:  # noqa: ARG002 - the display's protocol
        """Write the line."""
        self._work.ends()
        left = self._time_left()
        _print(self._console, f"[{self._work.done}/{self._work.total}] {text}{f'  {left}' if left else ''}")

    def skip(self, pieces: int = 1) -> None:
        """Count less."""
        self._work.total -= pieces

    def was_done(self) -> None:
        """Write no line: it would be the second."""
        self._work.done += 1

    def _time_left(self) -> str | None:
        now_s = self._work.clock()
        if self._said_s is not None and now_s - self._said_s < SAY_EVERY_S:
            return None
        left = self._work.time_left()
        if left is not None:
            self._said_s = now_s
        return left


class TerminalDisplay:
    """A bar, what is being done below it, and problems above it, each once."""

    def __init__(self, live: Live, work: Work) -> None:
        self._live = live
        self._work = work
        self._problems: Counter[str] = Counter()
        self._lines = ["preparing"]
        self._draw()

    def part(self) -> None:
        """Say nothing: all that changes is on the screen."""

    def begin(self, text: str, note: str = "") -> None:
        """Show the texts below the bar."""
        self._work.begins()
        self._lines = [text, note] if note else [text]
        self._draw()

    def end(self, text: str, *, is_problem: bool, problem: str = "") -> None:
        """Move the bar; print a problem above it unless it is there already."""
        self._work.ends()
        if is_problem:
            problem = problem or text
            self._problems[problem] += 1
            if self._problems[problem] == 1:
                _print(self._live.console, text, style="red")
        self._draw()

    def skip(self, pieces: int = 1) -> None:
        """Shorten the bar, when it is drawn next: thousands may be skipped at once."""
        self._work.total -= pieces

    def was_done(self) -> None:
        """Move the bar, when it is drawn next."""
        self._work.done += 1

    def show_repeated(self) -> None:
        """Print how often each problem came that came more than once."""
        for problem, times in self._problems.items():
            if times > 1:
                _print(self._live.console, f"{times} times: {problem}", style="red")

    def _draw(self) -> None:
        width = self._live.console.width
        lines = [_fitting(line, width) for line in self._lines]
        self._live.update(Group(self._bar(width), *lines), refresh=True)

    def _bar(self, width: int) -> Table | Text:
        work = self._work
        left = work.time_left()
        left = "measuring ..." if left is None else left
        figures = ", ".join(
            part for part in (f"{work.done} of {work.total}", wording.duration(work.elapsed_s), left) if part
        )
        least, most = BAR_COLUMNS
        free = width - cell_len(figures) - 1
        if free < least:
            return _fitting(figures, width)
        row = Table.grid(padding=(0, 1, 0, 0))
        bar = ProgressBar(total=max(work.total, 1), completed=work.done, width=min(free, most))
        row.add_row(bar, Text(figures, no_wrap=True))
        return row


def _fitting(text: str, width: int) -> Text:
    """Return the text, cut where it would need a second line."""
    line = wording.one_line(text)
    if cell_len(line) > width:
        line = set_cell_size(line, max(width - 3, 0)) + "..."[:width]
    return Text(line, no_wrap=True)


def _print(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, flushed; a terminal may break it, as it can be copied whole then."""
    # The style is the text's: one given to print() would colour the bar below as well.
    console.print(Text(wording.one_line(text), style=style), soft_wrap=True)
