"""Limits the bytes of requests and answers that the process holds for all its clients together.

What a client sends is counted before it is read, and released when the client has its answer. So clients cannot make
the service exceed its memory limit and exit, however many they are and however long their texts.
"""

import sys
from collections.abc import Sequence
from typing import Final

from ...errors import ServiceBusyError

MAX_HELD_BYTES: Final = 256 * 2**20
"""A quarter of a service's allowed growth (``exit_watch.GROWTH_BYTES``); the rest is for computing."""


class Room:
    """Bytes for the requests of all clients. For one event loop.

    Args:
        max_bytes: the limit.
    """

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_bytes = max_bytes
        self.held_bytes = 0

    def hold(self) -> "Held":
        """Return the share of one request, empty at first; use it as a context manager."""
        return Held(self)

    def _change(self, before: int, after: int) -> None:
        others = self.held_bytes - before
        if after > before and others and others + after > self._max_bytes:
            raise ServiceBusyError(
                f"Pending requests take {others} of {self._max_bytes} bytes, so {after} more do not fit. Try again "
                "later, or with fewer texts."
            )
        self.held_bytes = others + after


class Held:
    """What one request holds of a room."""

    __slots__ = ("_bytes", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def change(self, size: int) -> None:
        """Hold ``size`` bytes from now on.

        Raises:
            ServiceBusyError: they do not fit beside the other requests. A request that is alone always has room.
        """
        self._room._change(self._bytes, size)
        self._bytes = size

    def add(self, size: int) -> None:
        """Hold ``size`` bytes more. Raises as ``change``."""
        self.change(self._bytes + size)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.change(0)


def memory_of(texts: Sequence[str]) -> int:
    """Return the memory of texts in bytes: up to four for each received byte, if a text has one wide character."""
    return sum(map(sys.getsizeof, texts))
