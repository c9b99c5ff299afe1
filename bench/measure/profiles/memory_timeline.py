"""A process's memory over time, as another process sees it in the kernel's ``/proc/PID/statm``.

The process runs as if unwatched: a thread of its parent reads the file.
Format: https://docs.kernel.org/filesystems/proc.html.
Anonymous memory is resident memory that is not shared; the shared part is pages of files, and shared memory without a
file on disk. Some kernels count in batches, and their figures are off by a few pages per processor.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INTERVAL_S = 0.002
"""Seconds from one reading to the next: short compared with a load, long compared with a reading."""

AT_MOST = 300
"""Most points that a record keeps: enough for a picture; a minute has 30,000 readings."""

_STEP = 1 / 200
"""Change of memory that makes a point, as a share of the maximum: less is hardly visible in a picture."""

_OWN_STATM = Path("/proc/self/statm")


class Reading(NamedTuple):
    """The memory of a process at one moment: nanoseconds of ``time.perf_counter_ns()``, bytes, bytes."""

    at_ns: int
    anonymous_bytes: int
    mapped_bytes: int

    @property
    def total_bytes(self) -> int:
        """The resident memory."""
        return self.anonymous_bytes + self.mapped_bytes


def is_supported() -> bool:
    """Return whether this system reports a process's memory."""
    return os.access(_OWN_STATM, os.R_OK)


def parse(statm: bytes, at_ns: int) -> Reading | None:
    """Parse the text of a ``statm``; None if it is something else, or the process has ended."""
    fields = statm.split()
    if len(fields) < 3 or not all(field.isdigit() and len(field) < 20 for field in fields[:3]):
        return None
    resident, shared = int(fields[1]), int(fields[2])
    if resident == 0 or shared > resident:
        return None
    return Reading(at_ns, (resident - shared) * mmap.PAGESIZE, shared * mmap.PAGESIZE)


@contextmanager
def recorded(readings: list[Reading], process_id: int) -> Iterator[None]:
    """Read the memory of a process every ``INTERVAL_S`` into a list, until the process or the context ends.

    A process that cannot be read, or not any more, is not an error: there are no readings then. The reading thread has
    ended when the context ends.
    """
    left = threading.Event()

    def read_on() -> None:
        # Opened once: a later process with the same id is not mistaken for this one.
        try:
            with Path(f"/proc/{process_id}/statm").open("rb", buffering=0) as statm:
                while True:
                    statm.seek(0)
                    reading = parse(statm.read(), time.perf_counter_ns())
                    if reading is None:
                        return
                    readings.append(reading)
                    if left.wait(INTERVAL_S):
                        return
        except OSError:  # it is gone
            return

    thread = threading.Thread(target=read_on, name="memory-timeline", daemon=True)
    try:
        thread.start()
        yield
    finally:
        left.set()
        if thread.is_alive():
            thread.join()


def reduce(readings: Sequence[Reading], at_most: int = AT_MOST) -> list[Reading]:
    """Return the readings that show how the memory developed.

    These are the first, the last, the first of those with the highest total, and each whose anonymous and mapped memory
    changed since the one kept before by more than 1/200 of that total, both changes added. So between two points the
    memory is that of the first of them: draw steps, not slopes. If these are too many, the limit is 1/100, 1/50 and so
    on.

    Args:
        readings: ascending in time.
        at_most: how many to keep, at least 3.
    """
    if not readings:
        return []
    highest = max(range(len(readings)), key=lambda index: readings[index].total_bytes)
    step_bytes = readings[highest].total_bytes * _STEP
    while len(kept := _changes(readings, step_bytes, {0, highest, len(readings) - 1})) > at_most:
        step_bytes *= 2
    return kept


def to_facts(readings: Sequence[Reading], spawn_ns: int) -> list[list[int]]:
    """Return the points for a record: nanoseconds since the spawn, anonymous bytes, file-mapped bytes."""
    return [[at_ns - spawn_ns, anonymous, mapped] for at_ns, anonymous, mapped in reduce(readings)]


def _changes(readings: Sequence[Reading], step_bytes: float, always: set[int]) -> list[Reading]:
    kept = [readings[0]]
    for index, reading in enumerate(readings[1:], start=1):
        before = kept[-1]
        changed_bytes = abs(reading.anonymous_bytes - before.anonymous_bytes)
        changed_bytes += abs(reading.mapped_bytes - before.mapped_bytes)
        if changed_bytes > step_bytes or index in always:
            kept.append(reading)
    return kept
