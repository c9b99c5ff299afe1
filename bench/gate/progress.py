"""What a gate shows while it measures. Nothing is drawn while a sample runs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.progress.display import can_draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.gate.decide.rules import Round

LINE_EVERY_S = 15.0
"""Without a terminal, a line is written this often."""


def describe(stage: int, rounds: int, most: int) -> str:
    """Return what is being done."""
    if stage == 0:
        return f"warm-up round {rounds}"
    kind = "measuring" if stage == 1 else "confirming with new samples"
    return f"{kind}: {rounds} rounds of at most {most}"


class GateProgress:
    """A bar that fills with the budget, or an occasional line."""

    def __init__(self, budget_s: float, max_rounds: int, progress: Progress) -> None:
        self._max_rounds = max_rounds
        self._progress = progress
        self._task = progress.add_task("warming up", total=budget_s)
        self._begun: float | None = None
        self._said = 0.0

    def round_ends(self, stage: int, rounds: int, values: Round) -> None:  # noqa: ARG002 - the listener's protocol
        """Move the bar, or write a line if the last one was long enough ago."""
        now = time.monotonic()
        if stage and self._begun is None:
            self._begun = now
        spent_s = now - self._begun if self._begun is not None else 0.0
        text = describe(stage, rounds, self._max_rounds)
        self._progress.update(self._task, description=text, completed=spent_s, refresh=True)
        if self._progress.disable and now - self._said >= LINE_EVERY_S:
            self._said = now
            self._progress.console.print(f"{spent_s:4.0f} s  {text}", markup=False, highlight=False)


@contextmanager
def open_progress(budget_s: float, max_rounds: int, *, quiet: bool) -> Iterator[GateProgress]:
    """Show the progress of a gate on stderr, or nothing if ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    limit = TextColumn(f"of at most {budget_s:.0f} s")
    with Progress(*columns, limit, console=console, auto_refresh=False, disable=not can_draw(console)) as progress:
        yield GateProgress(budget_s, max_rounds, progress)
