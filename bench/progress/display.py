"""Where progress is shown: a bar on a terminal, lines elsewhere, or nowhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from bench.progress.wording import duration, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType

_WHOLE_RUN_S = 1e9
"""rich forgets how long pieces took after 30 seconds, in which a model may not even be loaded."""


@contextmanager
def open_display(
    total: int,
    *,
    quiet: bool,
    time_left: Callable[[], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    console: Console | None = None,
) -> Iterator[Display]:
    """Show the progress of ``total`` pieces of work, or nothing if ``quiet``.

    Args:
        total: how many pieces there are.
        quiet: whether to show nothing.
        time_left: estimates the time left, in words; by default, pieces take as long as those that are done.
        clock: seconds; injected for tests.
        console: where to show it; stderr by default.
    """
    console = console or Console(stderr=True, quiet=quiet)
    bar = _Bar(console, clock)
    display = Display(bar, total, time_left)
    with bar:
        yield display


def announce(text: str, *, quiet: bool) -> None:
    """Print a message about work outside the samples on stderr."""
    _print(Console(stderr=True, quiet=quiet), text)


def can_draw(console: Console) -> bool:
    """Whether a display can be redrawn: not in a file or pipe, even with FORCE_COLOR, and not on a dumb terminal."""
    is_able = console.is_terminal and console.is_interactive and not console.is_dumb_terminal
    return is_able and console.file.isatty() and not console.quiet


class Display:
    """Shows pieces of work, one after another.

    On a terminal, a bar with the current piece below it, and above it the problems, which stay there, each once. It is
    drawn when a piece begins and when it ends, by the thread that says so, and never in between. Elsewhere, a line for
    each piece that is done.
    """

    def __init__(self, bar: _Bar, total: int, time_left: Callable[[], str] | None) -> None:
        self._bar = bar
        bar.add_task("preparing", total=total, left="")
        (self._task,) = bar.tasks
        self._time_left = time_left or self._like_the_others
        self._problems: set[str] = set()

    def begin(self, text: str) -> None:
        """Show what is being done."""
        self._bar.update(self._task.id, description=text)
        self._draw()

    def end(self, text: str, *, is_problem: bool, problem: str = "") -> None:
        """Show the outcome, and count the piece.

        Args:
            text: the result.
            is_problem: whether it is a problem.
            problem: identifies the problem if it occurs again; by default, the text.
        """
        self.was_done()
        if self._bar.disable:
            left = self._time_left()
            done, total = self._task.completed, self._task.total
            _print(self._bar.console, f"[{done}/{total}] {text}{f'  {left}' if left else ''}")
        elif is_problem and (problem or text) not in self._problems:
            self._problems.add(problem or text)
            _print(self._bar.console, text, style="red")
        self._draw()

    def was_done(self) -> None:
        """Count a piece without a line, such as one that was done before this began."""
        self._bar.update(self._task.id, advance=1)

    def add(self, pieces: int) -> None:
        """Add pieces to those left; a negative number removes some. It is drawn with the next piece."""
        self._bar.update(self._task.id, total=(self._task.total or 0) + pieces)

    def _draw(self) -> None:
        self._bar.update(self._task.id, left=self._time_left(), refresh=True)

    def _like_the_others(self) -> str:
        seconds = self._task.time_remaining
        return f"about {duration(seconds)} left" if seconds else ""


class _Bar(Progress):
    """A bar with a line of text below it; nothing if it cannot be drawn."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        super().__init__(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            auto_refresh=False,  # else a thread would draw while a sample runs
            speed_estimate_period=_WHOLE_RUN_S,
            transient=True,
            get_time=clock,
            disable=not can_draw(console),
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            yield Text(one_line(task.description), no_wrap=True, overflow="ellipsis")


def _print(console: Console, text: str, style: str = "") -> None:
    """Print a line unchanged and flush it; the terminal wraps it, so that it can be copied whole."""
    # The text has the style: one given to print() would colour the bar below as well.
    console.print(Text(one_line(text), style=style), soft_wrap=True)
