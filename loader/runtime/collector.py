"""Loading without the cyclic garbage collector.

Importing PyTorch and sentence-transformers creates some 440,000 objects that live forever, and the collector walks them
again and again meanwhile: 0.7 s of 4.1 s. So automatic collection pauses during a load. When it resumes, all objects
count as old: otherwise the next collection would walk all new ones at once. See
docs/decisions/0003-garbage-collector.md.
"""

import gc
from _thread import allocate_lock

from ..forks import after_fork_in_child


class CollectorPause:
    """A re-entrant, process-wide context manager: automatic collection is paused while any thread is inside."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._inside = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_enabled:
                _count_everything_as_old()
                gc.enable()

    def after_fork_in_child(self) -> None:
        """End a pause whose thread does not exist in this process."""
        self._lock = allocate_lock()
        if self._inside:
            self._inside = 0
            if self._was_enabled:
                gc.enable()


def _count_everything_as_old() -> None:
    """Move all objects to the oldest generation without walking them.

    Freezing moves every generation to the permanent one, and unfreezing moves that to the oldest: two list merges. If
    the program itself has frozen objects, they stay frozen, at the cost of one slow collection.
    """
    if hasattr(gc, "freeze") and gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()


COLLECTOR_PAUSE = CollectorPause()
"""The pause of this process."""

after_fork_in_child(COLLECTOR_PAUSE.after_fork_in_child)
