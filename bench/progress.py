"""Live progress on the terminal; plain lines where there is none.

Nothing is drawn while a sample runs: the display is refreshed before and after, so that it takes no processor time
from the process being timed.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.metrics import leading_metric

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from bench.plan import Plan, Slot
    from bench.records import Record
    from bench.runner import Listener


class Display(Protocol):
    """Shows one piece of work after the other."""

    def begin(self, text: str) -> None:
        """Say what is being done."""

    def end(self, text: str, *, is_problem: bool) -> None:
        """Say what became of it, and move on."""

    def skip(self, pieces: int = 1) -> None:
        """Take pieces out of what is left; a negative number adds some."""


@contextmanager
def open_display(total: int, *, quiet: bool) -> Iterator[Display]:
    """Show the progress of ``total`` pieces of work on stderr, or nothing if ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    if quiet or not console.is_terminal:
        yield PlainDisplay(total, None if quiet else sys.stderr)
        return
    columns = (
        TextColumn("{task.description}", justify="left", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, auto_refresh=False, speed_estimate_period=600) as progress:
        yield TerminalDisplay(progress, total)


@contextmanager
def make_progress(plan: Plan, *, quiet: bool) -> Iterator[Listener]:
    """Show the progress of a plan on stderr, or nothing if ``quiet``."""
    with open_display(plan.sample_count, quiet=quiet) as display:
        yield SampleProgress(display)


def announce(text: str, *, quiet: bool) -> None:
    """Say on stderr what takes a while before the first sample."""
    Console(stderr=True, quiet=quiet).print(text, markup=False, highlight=False, soft_wrap=True)


def describe(record: Record) -> str:
    """Return one line about a finished sample."""
    metric = leading_metric(record.cell)
    result = metric.show(metric.value(record)) if record.status == "ok" else f"{record.status}: {record.message}"
    if record.instrument:
        return f"{record.instrument}  {record.cell.label()}  {'done' if record.status == 'ok' else result}"
    kind = "warm-up " if record.is_warmup else ""
    again = " again" if record.attempt else ""
    disturbed = f"  (disturbed: {record.contamination})" if record.contamination else ""
    return f"{kind}round {record.round}{again}  {record.cell.label()}  {result}{disturbed}"


class SampleProgress:
    """Tells a display about samples."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def sample_begins(self, slot: Slot) -> None:
        """Say what is being measured."""
        self._display.begin(f"{slot.instrument or f'round {slot.round}'}  {slot.cell.label()}")

    def sample_ended(self, record: Record) -> None:
        """Say what became of it."""
        self._display.end(describe(record), is_problem=record.status != "ok")

    def sample_repeats(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Add a piece to what is left."""
        self._display.skip(-1)

    def slot_skipped(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Take the slot out of what is left."""
        self._display.skip()


class TerminalDisplay:
    """A bar that moves when a piece of work is done; problems stay on the screen."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("preparing", total=total)

    def begin(self, text: str) -> None:
        """Show the text beside the bar."""
        self._progress.update(self._task, description=text, refresh=True)

    def end(self, text: str, *, is_problem: bool) -> None:
        """Move the bar; print a problem above it."""
        if is_problem:
            self._progress.console.print(text, style="red", markup=False, highlight=False)
        self._progress.update(self._task, advance=1, refresh=True)

    def skip(self, pieces: int = 1) -> None:
        """Shorten the bar."""
        task = self._progress.tasks[0]
        self._progress.update(self._task, total=(task.total or 1) - pieces, refresh=True)


class PlainDisplay:
    """A line per finished piece of work, or nothing."""

    def __init__(self, total: int, stream: TextIO | None) -> None:
        self._stream = stream
        self._total = total
        self._done = 0

    def begin(self, text: str) -> None:
        """Say nothing: the line comes with the result."""

    def end(self, text: str, *, is_problem: bool) -> None:  # noqa: ARG002 - the display's protocol
        """Write the line."""
        self._done += 1
        if self._stream is not None:
            print(f"[{self._done}/{self._total}] {text}", file=self._stream, flush=True)

    def skip(self, pieces: int = 1) -> None:
        """Count less."""
        self._total -= pieces
