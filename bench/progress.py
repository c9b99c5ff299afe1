"""Live progress on the terminal; plain lines where there is none.

Nothing is drawn while a sample runs: the display is refreshed before and after, so that it takes no processor time
from the process being timed.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.metrics import METRICS_BY_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan, Slot
    from bench.records import Record
    from bench.runner import Listener


@contextmanager
def make_progress(plan: Plan, *, quiet: bool) -> Iterator[Listener]:
    """Show the progress of a plan on stderr, or nothing if ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    if quiet or not console.is_terminal:
        yield PlainProgress(plan, None if quiet else sys.stderr)
        return
    columns = (
        TextColumn("{task.description}", justify="left"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, auto_refresh=False, speed_estimate_period=600) as progress:
        yield TerminalProgress(progress, plan)


def announce(text: str, *, quiet: bool) -> None:
    """Say on stderr what takes a while before the first sample."""
    Console(stderr=True, quiet=quiet).print(text, markup=False, highlight=False, soft_wrap=True)


def describe(record: Record) -> str:
    """Return one line about a finished sample."""
    total = METRICS_BY_KEY["total_ms"]
    value = total.value(record)
    result = total.show(value) if record.status == "ok" else f"{record.status}: {record.message}"
    kind = "warm-up " if record.is_warmup else ""
    return f"{kind}round {record.round}  {record.cell.label()}  {result}"


class TerminalProgress:
    """A bar that moves between samples."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress = progress
        self._task = progress.add_task("preparing", total=plan.sample_count)

    def sample_begins(self, slot: Slot) -> None:
        """Say what is being measured."""
        self._progress.update(self._task, description=f"round {slot.round}  {slot.cell.label()}", refresh=True)

    def sample_ended(self, record: Record) -> None:
        """Move on; failures stay on the screen."""
        if record.status != "ok":
            self._progress.console.print(describe(record), style="red", markup=False, highlight=False)
        self._progress.update(self._task, advance=1, refresh=True)

    def slot_skipped(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Take the slot out of what is left."""
        task = self._progress.tasks[0]
        self._progress.update(self._task, total=(task.total or 1) - 1, refresh=True)


class PlainProgress:
    """A line per sample, or nothing."""

    def __init__(self, plan: Plan, stream: object) -> None:
        self._stream = stream
        self._total = plan.sample_count
        self._done = 0

    def sample_begins(self, slot: Slot) -> None:
        """Say nothing: the line comes with the result."""

    def sample_ended(self, record: Record) -> None:
        """Write the line."""
        self._done += 1
        if self._stream is not None:
            print(f"[{self._done}/{self._total}] {describe(record)}", file=self._stream, flush=True)  # type: ignore[call-overload]

    def slot_skipped(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Take the slot out of what is left."""
        self._total -= 1
