"""The progress of a run: tells a display about its samples."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.data.metrics import leading_metric
from bench.progress import wording
from bench.progress.display import announce, open_display
from bench.progress.remaining import Remaining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.data.records import Record
    from bench.plan.plan import Plan, Slot
    from bench.progress.display import Display
    from bench.progress.listener import Listener


@contextmanager
def make_progress(plan: Plan, *, quiet: bool) -> Iterator[Listener]:
    """Show the progress of a plan on stderr and a summary line at its end; or nothing if ``quiet``."""
    remaining = Remaining(plan)
    with open_display(plan.sample_count, quiet=quiet, time_left=remaining.in_words) as display:
        progress = SampleProgress(plan, display, remaining)
        yield progress
    announce(progress.summary(), quiet=quiet)


class SampleProgress:
    """Tells a display about samples."""

    def __init__(
        self, plan: Plan, display: Display, remaining: Remaining, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._display = display
        self._remaining = remaining
        self._clock = clock
        self._begun_s = clock()
        self._is_running = False
        self._rounds: set[int] = set()
        self._taken = self._disturbed = self._not_valid = 0

    def sample_begins(self, slot: Slot) -> None:
        """Show what is being measured."""
        self._remaining.sample_begins(slot)
        self._is_running = True
        disturbed = f"  ({self._disturbed} disturbed so far)" if self._disturbed else ""
        self._display.begin(f"{self._name(slot)}  {slot.cell.label()}{disturbed}")

    def sample_ended(self, record: Record) -> None:
        """Show the outcome, unless it was measured before the run was resumed."""
        self._remaining.sample_ended(record)
        if not record.instrument and not record.is_warmup:
            self._rounds.add(record.round)
        if not self._is_running:
            self._display.was_done()
            return
        self._is_running = False
        self._taken += 1
        self._disturbed += bool(record.contamination)
        is_problem = record.status != "ok"
        self._not_valid += is_problem
        problem = f"{record.cell.label()}  {record.status}: {record.message}"
        self._display.end(self._describe(record), is_problem=is_problem, problem=problem)

    def sample_repeats(self, slot: Slot) -> None:
        """Add a piece to those left."""
        self._remaining.sample_repeats(slot)
        self._display.add(1)

    def slot_skipped(self, slot: Slot) -> None:
        """Remove the slot from those left."""
        self._remaining.slot_skipped(slot)
        self._display.add(-1)

    def summary(self) -> str:
        """Return a summary line, such as ``measured 110 samples in 3 min 20 s, 2 disturbed``."""
        samples = f"{self._taken} sample{'' if self._taken == 1 else 's'}"
        parts = [f"measured {samples} in {wording.duration(self._clock() - self._begun_s)}"]
        if len(self._rounds) < self._plan.protocol.rounds:
            parts.append(f"{len(self._rounds)} of {self._plan.protocol.rounds} rounds")
        parts += [f"{self._disturbed} disturbed"] if self._disturbed else []
        parts += [f"{self._not_valid} not valid"] if self._not_valid else []
        return ", ".join(parts)

    def _name(self, sample: Slot | Record) -> str:
        """Return which part of the run a sample belongs to, such as ``round 3 of 10``."""
        if sample.instrument:
            return sample.instrument
        protocol = self._plan.protocol
        if sample.is_warmup:
            return f"warm-up {sample.round + 1} of {protocol.warmup_rounds}"
        return f"round {sample.round - protocol.warmup_rounds + 1} of {protocol.rounds}"

    def _describe(self, record: Record) -> str:
        """Return one line about a finished sample."""
        metric = leading_metric(record.cell)
        result = metric.show(metric.value(record)) if record.status == "ok" else f"{record.status}: {record.message}"
        if record.instrument and record.status == "ok":
            result = "done"  # its times mean nothing
        again = " again" if record.attempt else ""
        disturbed = f"  (disturbed: {record.contamination})" if record.contamination else ""
        return f"{self._name(record)}{again}  {record.cell.label()}  {result}{disturbed}"
