"""Threads and conditions without importing ``threading``, which takes a third of the time of starting Python.

``threading`` is Python over what ``_thread`` does in C. It is still used where the program has imported it, so that our
threads have names there.

Up to Python 3.12, the thread that imports ``threading`` first counts as the main thread, whichever it is. So no thread
of ours may be the first: before it imports anything that could import ``threading``, it calls ``import_threading``.
"""

import os
import sys
from _thread import allocate_lock, get_ident, start_new_thread
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType, RLock
    from collections.abc import Callable
    from typing import Final, Self

if sys.platform == "linux":
    from _thread import get_native_id

    def is_main_thread() -> bool:
        """Whether this is the main thread."""
        return get_native_id() == os.getpid()

else:

    def is_main_thread() -> bool:
        """Whether this is the main thread."""
        import threading

        return get_ident() == threading.main_thread().ident


def start_thread(function: "Callable[[], object]", name: str) -> "int | None":
    """Call ``function()``, which must not raise, in a new thread that does not keep the process alive.

    Returns the thread's identifier.

    Raises:
        RuntimeError: no thread can be started, for instance because the interpreter is exiting.
    """
    threading = sys.modules.get("threading")
    if threading is not None and hasattr(threading, "Thread"):
        thread = threading.Thread(target=function, name=name, daemon=True)
        thread.start()
        ident: int | None = thread.ident
        return ident
    return start_new_thread(function, ())


_MAIN_IS_FIRST: "Final" = sys.version_info < (3, 13)
_PATIENCE_S: "Final" = 0.25
_PAUSE_S: "Final" = 0.005
_wanted = False
_main_waiter: "LockType | None" = None
"""What the main thread waits for in a ``Condition``, as long as ``threading`` is not imported."""


def import_threading() -> None:
    """Import ``threading``, or let the main thread do it, if that waits for a ``Condition`` or begins to.

    If it is busy elsewhere for a quarter of a second, this thread imports it after all.
    """
    global _wanted
    if _MAIN_IS_FIRST and "threading" not in sys.modules and not is_main_thread():
        _wanted = True
        waiter = _main_waiter
        if waiter is not None and waiter.locked():
            waiter.release()  # it finds that nothing has happened, imports threading and waits on
        end_s = monotonic() + _PATIENCE_S
        while "threading" not in sys.modules and monotonic() < end_s:
            sleep(_PAUSE_S)
    import threading  # noqa: F401


class Condition:
    """A condition variable over a lock of ``_thread``; what is used of ``threading.Condition``, which does the same."""

    __slots__ = ("_lock", "_waiters")

    def __init__(self, lock: "LockType | RLock | None" = None) -> None:
        self._lock = allocate_lock() if lock is None else lock
        self._waiters: list[LockType] = []

    def __enter__(self) -> "Self":
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, predicate: "Callable[[], object]", timeout_s: float | None = None) -> bool:
        """Release the lock until the predicate is true, and take it again; return whether it is true.

        Args:
            predicate: called with the lock held, at once and after every ``notify_all``.
            timeout_s: the longest wait; None for no limit.
        """
        end_s = None if timeout_s is None else monotonic() + timeout_s
        while not predicate():
            left_s = -1.0 if end_s is None else end_s - monotonic()
            if end_s is not None and left_s <= 0.0:
                return False
            waiter = allocate_lock()
            waiter.acquire()
            self._waiters.append(waiter)
            held = self._release()
            try:
                _sleep(waiter, left_s)
            finally:
                self._take_again(held)
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True

    def notify_all(self) -> None:
        """Wake all who wait. The lock must be held."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.locked():
                waiter.release()

    def _release(self) -> object:
        """Release the lock however often it is held, and return what takes it again."""
        if hasattr(self._lock, "_release_save"):  # a re-entrant one
            return self._lock._release_save()
        self._lock.release()
        return None

    def _take_again(self, held: object) -> None:
        if hasattr(self._lock, "_acquire_restore"):
            self._lock._acquire_restore(held)
        else:
            self._lock.acquire()


def _sleep(waiter: "LockType", timeout_s: float) -> None:
    """Wait until another thread releases the lock, at most so many seconds; -1 for no limit."""
    if not _MAIN_IS_FIRST or "threading" in sys.modules or not is_main_thread():
        waiter.acquire(True, timeout_s)
        return
    global _main_waiter
    _main_waiter = waiter
    try:
        if not _wanted:
            waiter.acquire(True, timeout_s)
    finally:
        _main_waiter = None
    if _wanted:
        import threading  # noqa: F401
