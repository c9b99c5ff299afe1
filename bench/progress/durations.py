"""How long the samples of a run take, by cell, learned from those that are done."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.plan import as_watched

if TYPE_CHECKING:
    from bench.plan import Cell, Plan, Slot
    from bench.records import Record

WATCHED = {"importtime": (1.2, 0.0), "memory": (1.1, 0.0), "memray": (4.0, 0.7)}
"""What a watched sample takes, as a factor of a timed one and seconds on top, until the first of its kind is done.

Of runs on two processors, with samples from 0.08 s to 5.2 s: importtime took 1.2 times as long for the longest,
memory 1.1 times, memray 4.0 times; to reduce memray's file, a process of 0.6 s to 0.7 s comes on top, which is most of
it for the others.
"""


class Durations:
    """How long the samples of a plan took, by cell, and from these what the others will take."""

    def __init__(self, plan: Plan) -> None:
        self.worked: set[Cell] = set()
        self._alike: dict[Cell, list[Cell]] = {}
        for cell in plan.cells:
            self._alike.setdefault(as_watched(cell), []).append(cell)
        self._all_s: dict[tuple[Cell, bool], list[float]] = {}
        self._typical_s: dict[Cell, float] = {}
        self._count = 0
        self._ratios: dict[str, list[tuple[str, float]]] = {}

    def __len__(self) -> int:
        """Return how many samples are known."""
        return self._count

    def __contains__(self, cell: Cell) -> bool:
        """Whether there is a sample of the cell."""
        return cell in self._typical_s

    @property
    def cells(self) -> list[Cell]:
        """The cells of which there are samples."""
        return list(self._typical_s)

    def watched_as(self, watched: Cell) -> list[Cell]:
        """Return the timed cells for which this one is watched."""
        return self._alike[watched]

    def note(self, record: Record, seconds: float) -> None:
        """Learn how long a timed sample took."""
        self._count += 1
        self._all_s.setdefault((record.cell, record.is_warmup), []).append(seconds)
        # The first samples of a cell take longer: they count only as long as there are no others.
        known_s = self._all_s.get((record.cell, False)) or self._all_s[record.cell, True]
        self._typical_s[record.cell] = statistics.median(known_s)
        if record.status == "ok":
            self.worked.add(record.cell)

    def note_watched(self, record: Record, seconds: float) -> None:
        """Learn how much longer a watched sample took than foreseen."""
        foreseen_s = self._foreseen_s(record.cell, record.instrument)
        if foreseen_s > 0:
            self._ratios.setdefault(record.instrument, []).append((record.cell.subject, seconds / foreseen_s))

    def timed_s(self, cell: Cell) -> float | None:
        """Return what a timed sample takes: a cell without any is taken for one of its subject, or for any."""
        if cell in self._typical_s:
            return self._typical_s[cell]
        seen = [other for other in self._typical_s if other in self.worked] or list(self._typical_s)
        related = [other for other in seen if other.subject == cell.subject] or seen
        return statistics.median(self._typical_s[other] for other in related) if related else None

    def watched_s(self, slot: Slot) -> float:
        """Return what a watched sample takes."""
        seen = self._ratios.get(slot.instrument, [])
        related = [ratio for subject, ratio in seen if subject == slot.cell.subject] or [ratio for _, ratio in seen]
        return self._foreseen_s(slot.cell, slot.instrument) * (statistics.median(related) if related else 1.0)

    def _foreseen_s(self, watched: Cell, instrument: str) -> float:
        factor, more_s = WATCHED[instrument]
        timed_s = [seconds for cell in self._alike[watched] if (seconds := self.timed_s(cell)) is not None]
        return factor * statistics.median(timed_s) + more_s if timed_s else 0.0
