"""Native work in threads against interpreter exit.

When the main thread returns, CPython ends every daemon thread at the moment it next asks for the interpreter lock. If
C++ code of PyTorch or ONNX Runtime is on that thread's stack, the process aborts ("terminate called without an active
exception"). So everything native that runs outside the main thread runs inside a *section* of one process-wide gate:

* ``atexit`` closes the gate: no new section may begin, and it waits until the open ones have ended;
* a section ends early at its next *checkpoint*: between the steps of a load, and at every import statement that the
  loading thread reaches (importing PyTorch and its friends is thousands of them, seldom 0.3 s apart);
* work that waits for something outside this process registers a callback that ends the wait;
* the wait is bounded by ``EXIT_WAIT_S``, so a stuck native call can delay an exit, never prevent it.

See docs/decisions/0002-exit-gate.md for the measurements.
"""

import sys
import threading
from _thread import get_ident

from .errors import ShutdownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

EXIT_WAIT_S = 10.0
"""Longest time in seconds that interpreter exit waits for native work to end."""


class LoadInterrupted(BaseException):
    """Ends a section at a checkpoint. Not an Exception: third-party ``except Exception`` must not swallow it."""


class ExitGate:
    """Counts the threads that do native work, refuses new ones once closed, waits for the last one to leave."""

    def __init__(self) -> None:
        self._cond = threading.Condition(threading.Lock())
        self._depth_by_thread: dict[int, int] = {}
        self._on_close: list[Callable[[], object]] = []
        self._closing = False
        self._installed = False

    @property
    def closing(self) -> bool:
        """Whether the interpreter has begun to exit."""
        return self._closing

    def install(self) -> None:
        """Register with ``atexit`` and the import system. Idempotent; called before the first loader thread starts."""
        with self._cond:
            if self._installed:
                return
            self._installed = True
        import atexit

        atexit.register(self.close)
        # Inserted once and never removed: another thread may be iterating over the list right now, and a removal
        # would make it skip a finder. Behind the first place it is at worst asked twice.
        sys.meta_path.insert(0, _ImportCheckpoint(self))

    def section(self) -> "_Section":
        """Return a context manager around native work.

        Entering raises ShutdownError once the gate is closed, except on the main thread: it is the one that exits,
        so it cannot be killed half-way.
        """
        return _Section(self)

    def checkpoint(self) -> None:
        """Raise LoadInterrupted if the gate is closed and this thread is inside a section."""
        if self._closing and get_ident() in self._depth_by_thread and not _is_main_thread():
            raise LoadInterrupted

    def on_close(self, callback: "Callable[[], object]") -> "_Interruptible":
        """Return a context manager during which closing the gate calls ``callback`` (from the exiting thread)."""
        return _Interruptible(self, callback)

    def close(self, timeout: float = EXIT_WAIT_S) -> bool:
        """Close the gate and wait until no other thread is inside; return whether that was reached in time."""
        me = get_ident()
        with self._cond:
            self._closing = True
            callbacks = list(self._on_close)
        for callback in callbacks:
            callback()
        with self._cond:
            return self._cond.wait_for(lambda: not (self._depth_by_thread.keys() - {me}), timeout)

    def after_fork_in_child(self) -> None:
        """Forget the parent's other threads: they do not exist here."""
        me = get_ident()
        depth = self._depth_by_thread.get(me, 0)
        self._cond = threading.Condition(threading.Lock())
        self._depth_by_thread = {me: depth} if depth else {}
        self._on_close = []

    def enter(self) -> None:
        """Begin a section; ``section()`` is the usual way. Raises as that does."""
        me = get_ident()
        with self._cond:
            depth = self._depth_by_thread.get(me, 0)
            if self._closing and not depth and not _is_main_thread():
                raise ShutdownError("The interpreter is exiting; no thread but the main one may load or embed now.")
            self._depth_by_thread[me] = depth + 1

    def leave(self) -> None:
        """End a section."""
        me = get_ident()
        with self._cond:
            depth = self._depth_by_thread.get(me, 1) - 1
            if depth:
                self._depth_by_thread[me] = depth
            else:
                self._depth_by_thread.pop(me, None)
                self._cond.notify_all()


class _Section:
    __slots__ = ("_gate",)

    def __init__(self, gate: ExitGate) -> None:
        self._gate = gate

    def __enter__(self) -> "Self":
        self._gate.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.leave()


class _Interruptible:
    __slots__ = ("_callback", "_gate")

    def __init__(self, gate: ExitGate, callback: "Callable[[], object]") -> None:
        self._gate = gate
        self._callback = callback

    def __enter__(self) -> None:
        with self._gate._cond:
            self._gate._on_close.append(self._callback)
        self._gate.checkpoint()

    def __exit__(self, *_: object) -> None:
        with self._gate._cond:
            if self._callback in self._gate._on_close:
                self._gate._on_close.remove(self._callback)


class _ImportCheckpoint:
    """A meta path finder that finds nothing and makes every import inside a section a checkpoint."""

    def __init__(self, gate: ExitGate) -> None:
        self._gate = gate

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002 - protocol
        """Find nothing; raise LoadInterrupted when the gate is closed."""
        if self._gate._closing:
            self._gate.checkpoint()


def _is_main_thread() -> bool:
    return get_ident() == threading.main_thread().ident


GATE = ExitGate()
"""The gate of this process."""
