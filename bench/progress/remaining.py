"""How long the rest of a run will take, from how long its samples took. Pure: no display, the clock is injected."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.plan import MIN_ROUNDS
from bench.progress.durations import Durations

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Cell, Plan, Slot
    from bench.records import Record

ENOUGH_SAMPLES = 3
"""Samples from which the cells that were not measured yet are guessed: of fewer, one odd sample decides."""


class Remaining:
    """Estimates the rest of a run.

    Told the same as ``bench.runner.Listener``, it plays the rest of the plan as ``bench.runner.Runner`` will: each cell
    takes the median of its samples so far, no round begins when the budget is spent, but ``MIN_ROUNDS`` are measured.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        protocol = plan.protocol
        self._plan = plan
        self._clock = clock
        self._begun_s = clock()
        self._earlier_s = 0.0  # of records from before the run was resumed
        self._sample_begun_s: float | None = None
        self._rounds = [set(plan.cells) for _ in range(protocol.warmup_rounds + protocol.rounds)]
        self._passes = dict.fromkeys(plan.passes())
        self._again: set[tuple[Cell, int]] = set()
        self._reruns_left = protocol.max_reruns * plan.sample_count
        self._counted = self._disturbed = 0
        self._given_up: set[Cell] = set()
        self._durations = Durations(plan)

    def sample_begins(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Look at the clock."""
        self._sample_begun_s = self._clock()

    def sample_ended(self, record: Record) -> None:
        """Take the sample out of what is left, and learn how long it took."""
        was_measured_now = self._sample_begun_s is not None
        seconds = self._seconds(record)
        if record.instrument:
            self._passes = {slot: None for slot in self._passes if not _is_of(slot, record)}
            if was_measured_now:  # the marks of an earlier one leave out what came after the process
                self._durations.note_watched(record, seconds)
            return
        self._rounds[record.round].discard(record.cell)
        self._again.discard((record.cell, record.round))
        self._durations.note(record, seconds)
        if record.status == "unsupported" and record.cell not in self._durations.worked:
            self._given_up.add(record.cell)
        if record.counts and not record.attempt:
            self._counted += 1
            if record.contamination and self._reruns_left > 0:
                self._reruns_left -= 1
                self._disturbed += 1
                self._again.add((record.cell, record.round))

    def sample_repeats(self, slot: Slot) -> None:
        """Learn nothing: that it would be repeated was known when it was found disturbed."""

    def slot_skipped(self, slot: Slot) -> None:
        """Take the slot out of what is left, and its cell with it: what is left out once is not measured again."""
        if slot.instrument:
            self._passes.pop(slot, None)
        else:
            self._rounds[slot.round].discard(slot.cell)
            self._given_up.add(slot.cell)

    @property
    def is_limit(self) -> bool:
        """Whether the run may well end earlier, because enough is known."""
        return self._plan.precision is not None and any(self._is_untouched(cells) for cells in self._rounds)

    def seconds(self) -> float | None:
        """Return the estimate, 0 if nothing is left; None if there are not enough samples to know."""
        if not self._is_known():
            return None
        protocol = self._plan.protocol
        costs_s = {
            cell: 0.0 if cell in self._given_up else self._durations.timed_s(cell) or 0.0 for cell in self._plan.cells
        }
        whole_round_s = sum(costs_s.values())
        total_s = sum(costs_s[cell] for cell, _ in self._again)
        counted = sum(not self._is_untouched(cells) for cells in self._rounds[protocol.warmup_rounds :])
        reruns_left = self._reruns_left
        for number, cells in enumerate(self._rounds):
            if not cells:
                continue
            if not self._is_untouched(cells):
                round_s = sum(costs_s[cell] for cell in cells)
            else:
                spent_s = self._spent_s() + total_s
                if spent_s >= protocol.budget_s and counted >= MIN_ROUNDS:
                    break
                counted += number >= protocol.warmup_rounds
                round_s = whole_round_s
            if number >= protocol.warmup_rounds:
                repeated = max(min(self._share_disturbed * len(cells), reruns_left), 0.0)
                reruns_left -= repeated
                round_s *= 1 + repeated / len(cells)
            total_s += round_s
        return total_s + sum(map(self._pass_s, self._passes))

    def _seconds(self, record: Record) -> float:
        """Return how long a sample took, with everything around its process."""
        if self._sample_begun_s is None:
            process_s = record.marks_ns.get("exit", 0) / 1e9
            self._earlier_s += process_s
            return process_s
        seconds = self._clock() - self._sample_begun_s
        self._sample_begun_s = None
        return seconds

    def _is_known(self) -> bool:
        unseen = [cell for cell in self._plan.cells if cell not in self._given_up and cell not in self._durations]
        subjects = {cell.subject for cell in self._durations.cells}
        is_enough = len(self._durations) >= ENOUGH_SAMPLES and all(cell.subject in subjects for cell in unseen)
        return not unseen or is_enough

    def _is_untouched(self, cells: set[Cell]) -> bool:
        return len(cells) == len(self._plan.cells)

    def _spent_s(self) -> float:
        return self._clock() - self._begun_s + self._earlier_s

    @property
    def _share_disturbed(self) -> float:
        return self._disturbed / self._counted if self._counted else 0.0

    def _pass_s(self, slot: Slot) -> float:
        """Return what a watched sample takes; 0 for one that will be left out, as no sample of its cell ever worked."""
        alike = self._durations.watched_as(slot.cell)
        if not any(cell in self._durations.worked or cell not in self._given_up for cell in alike):
            return 0.0
        return self._durations.watched_s(slot)


def _is_of(slot: Slot, record: Record) -> bool:
    return slot.cell == record.cell and slot.instrument == record.instrument
