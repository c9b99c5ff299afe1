"""Threads and conditions without importing ``threading``, which takes a third of the time of starting Python.

``threading`` is Python over what ``_thread`` does in C. It is still used where the program has imported it, so that our
threads have names there.

A thread of ours calls ``import_threading`` before it imports anything that could import ``threading``.
"""

import os
import sys
from _thread import allocate_lock, get_ident, start_new_thread
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType, RLock
    from collections.abc import Callable
    from typing import Any, Final, Self

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


_MAIN: "Final" = get_ident() if is_main_thread() else None
"""The main thread's identifier; None if another thread imports this module, which it can only do with ``threading``."""


def import_threading() -> None:
    """Import ``threading``, so that the main thread counts as the main thread.

    Python 3.11 and 3.12 take the thread that imports it first for the main thread, and exit only when that has ended.
    """
    if "threading" in sys.modules or _MAIN is None or is_main_thread():
        import threading

        return
    import threading

    main: Any = threading.main_thread()
    if main.ident == _MAIN or not hasattr(threading, "_shutdown_locks"):
        return
    lock = allocate_lock()
    lock.acquire()  # until the interpreter exits
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        threading._shutdown_locks.discard(main._tstate_lock)
        main._tstate_lock = lock
        threading._active.pop(main.ident, None)  # type: ignore[attr-defined]
        main._ident = _MAIN
        main._native_id = os.getpid()
        threading._active[_MAIN] = main  # type: ignore[attr-defined]


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
                waiter.acquire(True, left_s)
            finally:
                self._take_again(held)
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True

    def notify_all(self) -> None:
        """Wake all who wait. The lock must be held."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
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
