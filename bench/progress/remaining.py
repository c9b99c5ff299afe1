"""How long the rest of a run will take, from how long its samples took. Pure: no display, the clock is injected.

An estimate from the pieces done, as rich makes it, is of no use here: cells take from 0.08 s to 5 s, watched samples
take up to four times as long as timed ones and come last, and the budget ends many runs before their rounds do.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.plan.cell import as_watched
from bench.plan.plan import MIN_ROUNDS
from bench.progress.wording import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.data.records import Record
    from bench.plan.cell import Cell
    from bench.plan.plan import Plan, Slot

WATCHED = {"importtime": (1.2, 0.0), "memory": (1.1, 0.0), "memray": (4.0, 0.7)}
"""How long a watched sample takes, as a factor of a timed one plus seconds.

From runs on two processors, with samples of 0.08 s to 5.2 s: for the longest, importtime took 1.2 times as long, memory
1.1 times, memray 4.0 times; reducing memray's file takes another process of 0.6 s to 0.7 s, which dominates for the
others.
"""


class Remaining:
    """Estimates the rest of a run, as a ``bench.progress.listener.Listener``.

    Each cell takes the median of its samples so far, and no round begins once the budget is spent, except for
    ``MIN_ROUNDS``. Nothing is known before each cell was tried, which takes one round.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._clock = clock
        self._budget_end_s = clock() + plan.protocol.budget_s
        self._sample_begun_s: float | None = None
        self._left = Counter(map(_key, itertools.chain(*plan.rounds(), plan.passes())))
        self._taken_s: dict[Cell, list[float]] = {}
        self._watched_as: dict[Cell, list[Cell]] = {}
        for cell in plan.cells:
            self._watched_as.setdefault(as_watched(cell), []).append(cell)

    def sample_begins(self, slot: Slot) -> None:  # noqa: ARG002 - the listener's protocol
        """Note the time."""
        self._sample_begun_s = self._clock()

    def sample_ended(self, record: Record) -> None:
        """Remove the sample from those left, and learn how long it took."""
        if self._sample_begun_s is None:  # before the run was resumed
            seconds = record.marks_ns.get("exit", 0) / 1e9
            self._budget_end_s -= seconds
        else:
            seconds = self._clock() - self._sample_begun_s
            self._sample_begun_s = None
        self._left[_key(record)] -= 1
        if not record.instrument:
            self._taken_s.setdefault(record.cell, []).append(seconds)

    def sample_repeats(self, slot: Slot) -> None:
        """Add a sample."""
        self._left[_key(slot)] += 1

    def slot_skipped(self, slot: Slot) -> None:
        """Remove the slot and all later ones of its cell: what is skipped once is not measured again."""
        for key in [key for key in self._left if key[:2] == _key(slot)[:2]]:
            del self._left[key]

    def seconds(self) -> float | None:
        """Return the estimate, 0 if nothing is left; None if a cell was not tried yet."""
        timed_s = {cell: statistics.median(taken_s) for cell, taken_s in self._taken_s.items()}
        certain_s = more_s = passes_s = 0.0
        for (cell, instrument, number), count in (+self._left).items():
            if instrument:
                known_s = [timed_s[other] for other in self._watched_as[cell] if other in timed_s]
                factor, constant_s = WATCHED[instrument]
                passes_s += factor * statistics.median(known_s) + constant_s if known_s else 0.0
            elif cell not in timed_s:
                return None
            elif number < self._plan.protocol.warmup_rounds + MIN_ROUNDS:
                certain_s += count * timed_s[cell]
            else:
                more_s += count * timed_s[cell]
        within_budget_s = max(self._budget_end_s - self._clock() - certain_s, 0.0)
        return certain_s + min(more_s, within_budget_s) + passes_s

    def in_words(self) -> str:
        """Return the estimate, such as ``about 3 min 20 s left``; "" if nothing is known or nothing is left."""
        seconds = self.seconds()
        if not seconds:
            return ""
        # With a precision, the run may end earlier.
        is_limit = self._plan.precision is not None and any(not instrument for _, instrument, _ in +self._left)
        return f"{'at most' if is_limit else 'about'} {duration(max(seconds, 1.0))} left"


def _key(sample: Slot | Record) -> tuple[Cell, str, int]:
    return sample.cell, sample.instrument, sample.round
