"""Keeps others from filling the log: a repeated line is written once, and again only after a pause.

Anybody who can connect can cause log lines, with invalid requests or refused connections, and could fill a disk.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

QUIET_S: Final = 60.0
"""How long a line must not have occurred before it is written again."""
_MOST: Final = 1000
"""Lines that are remembered."""


class NoRepeats(logging.Filter):
    """Lets a message through unless the same message occurred in the last QUIET_S.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._came_up_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        message, now_s = record.getMessage(), self._clock()
        before_s = self._came_up_s.pop(message, None)  # so that the oldest one is the first
        if len(self._came_up_s) >= _MOST:
            self._came_up_s.pop(next(iter(self._came_up_s)))
        self._came_up_s[message] = now_s
        return before_s is None or now_s - before_s > QUIET_S
