"""Loading without the cyclic garbage collector.

Importing PyTorch and sentence-transformers makes some 440,000 objects that live for ever, and the collector walks
through them again and again while they are made: 0.7 s of 4.1 s. So automatic collection pauses during a load. When it
resumes, all objects count as old, as if they had survived: the next collection would otherwise walk through every new
one at once. See docs/decisions/0003-garbage-collector.md.
"""

import gc
import threading


class CollectorPause:
    """A re-entrant, process-wide context manager: automatic collection pauses while any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            if self._was_enabled:
                gc.enable()


def _count_everything_as_old() -> None:
    """Move all objects to the oldest generation without walking through them.

    Freezing moves every generation to the permanent one, unfreezing moves that to the oldest: two list merges. A
    program that has frozen objects itself keeps them frozen, at the price of one slow collection.
    """
    if hasattr(gc, "freeze") and gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()


COLLECTOR_PAUSE = CollectorPause()
"""The pause of this process."""
