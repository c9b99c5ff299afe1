"""When a service exits by itself: it is idle, it has grown too large, or its model's files have changed."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..options import IDLE_TIMEOUT_S

if TYPE_CHECKING:
    from .counters import Counters

GROWTH_BYTES: Final = 2**30
"""How much a service's memory may grow by default: enough for long texts, too little for a leak to disturb the user."""
CHECK_EVERY_S: Final = 5.0
_SOON_S: Final = 0.1
_AT_LEAST_S: Final = 0.05
"""Shortest pause between two checks."""


def memory_bytes() -> tuple[int, int]:
    """Return this process's resident set, and its private part: without the pages of files that it maps."""
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            _, resident, shared = (int(word) for word in file.read().split()[:3])
        page = os.sysconf("SC_PAGE_SIZE")
        return resident * page, (resident - shared) * page
    import psutil

    memory = psutil.Process().memory_full_info()
    return memory.rss, memory.uss


class ExitWatch:
    """Watches for the reasons to exit.

    Args:
        counters: of every served model.
        idle_timeout_s: seconds without a request; 0 to exit after the first one, -1 for no limit. With 0 and no request
            at all, IDLE_TIMEOUT_S applies: a service that is never used must not stay.
        max_memory_bytes: maximum private memory; None for GROWTH_BYTES more than the resident set when the model is
            ready, which includes mapped weights because an engine may yet copy them.
        changed: functions that return whether the files of a model have changed since it was loaded.
        every_s: seconds between two checks.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        counters: "Sequence[Counters]",
        *,
        idle_timeout_s: float,
        max_memory_bytes: int | None = None,
        changed: Sequence[Callable[[], bool]] = (),
        every_s: float = CHECK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._idle_timeout_s = idle_timeout_s
        self._max_memory_bytes = memory_bytes()[0] + GROWTH_BYTES if max_memory_bytes is None else max_memory_bytes
        self._changed = changed
        # A service that exits after its first answer does so at once.
        self._every_s = every_s if idle_timeout_s else _SOON_S
        self._clock = clock
        self._started_s = clock()

    async def reached(self) -> str:
        """Return the reason to exit, once there is one."""
        while (reason := self.check()) is None:
            await asyncio.sleep(max(_AT_LEAST_S, min(self._every_s, self._idle_left_s())))
        return reason

    def check(self) -> str | None:
        """Return the reason to exit now, or None."""
        if self._idle_left_s() <= 0:
            after_s = self._idle_after_s()
            return f"no request for {after_s:g} s" if after_s else "the first request was answered"
        try:
            own = memory_bytes()[1]
        except OSError:  # no descriptor is left: no reason to exit, and it is checked again soon
            own = 0
        if own > self._max_memory_bytes:
            return f"{own // 2**20} MiB of memory, more than {self._max_memory_bytes // 2**20} MiB"
        if any(changed() for changed in self._changed):
            return "the files of a model changed"
        return None

    def _idle_after_s(self) -> float:
        if self._idle_timeout_s == 0 and not any(counters.answered for counters in self._counters):
            return IDLE_TIMEOUT_S
        return float("inf") if self._idle_timeout_s < 0 else self._idle_timeout_s

    def _idle_left_s(self) -> float:
        """Return how much longer the service may be idle; a pending request restarts the time."""
        if any(counters.pending for counters in self._counters):
            return max(self._idle_after_s(), _AT_LEAST_S)
        ended = [counters.last_ended_s for counters in self._counters if counters.last_ended_s is not None]
        return max([self._started_s, *ended]) + self._idle_after_s() - self._clock()
