"""What a client process records about each request, as arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

OUTCOMES = ("unanswered", "ok", "wrong", "busy", "error")
"""Outcomes of a request, by code. Only ``ok`` is a usable answer."""

UNANSWERED, OK, WRONG, BUSY, ERROR = range(len(OUTCOMES))

MOMENTS = ("due_ns", "taken_ns", "sent_ns", "done_ns")


@dataclass(frozen=True, eq=False)
class Observations:
    """Requests, one for each index of all arrays. Times are nanoseconds since the beginning of the phase.

    Attributes:
        due_ns: when it had to be sent: in an open loop its arrival, otherwise when its client became free.
        taken_ns: when a client was free for it.
        sent_ns: when it was sent, 0 if it never was.
        done_ns: when its answer arrived, 0 if it never did.
        outcome: codes of ``OUTCOMES``.
    """

    due_ns: NDArray[np.int64]
    taken_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    outcome: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.outcome)

    @property
    def counts(self) -> dict[str, int]:
        """The number of requests by outcome."""
        found = Counter(self.outcome.tolist())
        return {name: found[code] for code, name in enumerate(OUTCOMES)}

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which requests got the right vector."""
        right: NDArray[np.bool_] = self.outcome == OK
        return right

    @property
    def latencies_ns(self) -> NDArray[np.int64]:
        """Latencies of the right answers, from when the request was due, including the wait for a free client."""
        return (self.done_ns - self.due_ns)[self.ok]

    def write(self, path: Path) -> None:
        """Write them, compressed."""
        with path.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})


def empty(requests: int) -> Observations:
    """Return arrays for this many requests, with no outcome yet."""
    due, taken, sent, done = (np.zeros(requests, np.int64) for _ in MOMENTS)
    return Observations(due, taken, sent, done, np.full(requests, UNANSWERED, np.uint8))


def read_observations(path: Path) -> Observations:
    """Read a file.

    Raises:
        RecordError: it is missing or damaged, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            due, taken, sent, done = (arrays[name].astype(np.int64, casting="safe") for name in MOMENTS)
            read = Observations(due, taken, sent, done, arrays["outcome"].astype(np.uint8, casting="safe"))
    # For a damaged file, NumPy passes on whatever zipfile, zlib and its own reader raise.
    except Exception as error:
        raise RecordError(f"{path} cannot be read: {error}. Was the folder copied completely?") from error
    shapes = {getattr(read, field.name).shape for field in fields(read)}
    if len(shapes) != 1 or read.outcome.ndim != 1 or bool((read.outcome >= len(OUTCOMES)).any()):
        raise RecordError(f"{path} is damaged: its arrays do not fit together. Leave the run out.")
    return read


def joined(parts: Sequence[Observations]) -> Observations:
    """Return the requests of several processes as one."""
    if not parts:
        return empty(0)
    return Observations(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(parts[0])))
