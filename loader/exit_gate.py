"""Protects native work in threads against interpreter exit and ``fork``.

When the main thread returns, CPython ends every daemon thread the next time it asks for the interpreter lock. If C++
code of PyTorch or ONNX Runtime is on that thread's stack, the process aborts ("terminate called without an active
exception"). So all native work outside the main thread runs inside a *section* of one process-wide gate:

* ``atexit`` closes the gate: no new section may begin, and it waits until the open ones have ended;
* a section ends early at its next *checkpoint*: between the steps of a load, and at every import statement that the
  loading thread reaches (importing PyTorch and its dependencies is thousands of them, seldom 0.3 s apart);
* work that waits for something outside this process registers a callback that ends the wait;
* the wait is bounded by ``EXIT_WAIT_S``, so a stuck native call can delay an exit but never prevent it.

``fork`` copies whatever other threads hold at that moment: the locks of the matrix library, of half-imported modules,
and ours. Nothing ever releases them in the child. So ``fork`` goes through the same gate: no new section begins, and it
waits until every other thread has left its section or is *idle* in it. Threads are idle at the checkpoints between
steps and between runs of a model, and while they wait for something; never inside an import. This wait is bounded by
``FORK_WAIT_S``; if it runs out, the child refuses all native work instead of hanging in some of it.

See docs/decisions/0002-exit-gate.md and 0014-fork.md for the measurements.
"""

import sys
from _thread import RLock, get_ident

from .errors import ForkError, ShutdownError
from .light_threads import Condition, is_main_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

EXIT_WAIT_S = 10.0
"""Longest time in seconds that interpreter exit waits for native work to end."""
FORK_WAIT_S = 10.0
"""Longest time in seconds that ``fork`` waits for native work in other threads to pause."""


class LoadInterrupted(BaseException):
    """Ends a section at a checkpoint. Not an Exception: third-party ``except Exception`` must not swallow it."""


class ExitGate:
    """Counts the threads that do native work, refuses new ones once closed, and waits for the last one to leave."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler of the main thread may fork in the middle of any method.
        self._cond = Condition(RLock())
        self._depth_by_thread: dict[int, int] = {}
        self._idle: set[int] = set()
        self._forking: set[int] = set()
        self._on_close: list[Callable[[], object]] = []
        self._closing = False
        self._installed = False
        self.forked_in_noise = False

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
        # would make it skip a finder. An insertion after the first place at worst makes it ask a finder twice.
        sys.meta_path.insert(0, _ImportCheckpoint(self))

    def section(self) -> "_Section":
        """Return a context manager around native work.

        Entering raises ShutdownError once the gate is closed, except on the main thread: that is the one that exits,
        so it cannot be killed half-way. It waits while another thread forks, and raises ForkError in a child whose fork
        could not wait for native work to pause.
        """
        return _Section(self)

    def checkpoint(self) -> None:
        """Let this thread's section end here, or another thread fork.

        The caller must not hold anything that another section needs: no lock, no import.

        Raises:
            LoadInterrupted: the gate is closed and this thread is inside a section.
        """
        self.interrupt_if_closed()
        if self._forking:
            with self.idle():
                pass

    def interrupt_if_closed(self) -> None:
        """Raise LoadInterrupted if the gate is closed and this thread is inside a section."""
        if self._closing and get_ident() in self._depth_by_thread and not is_main_thread():
            raise LoadInterrupted

    def on_close(self, callback: "Callable[[], object]") -> "_Interruptible":
        """Return a context manager around a wait for something outside this process.

        If the gate closes meanwhile, the exiting thread calls ``callback``, which ends the wait. The waiting thread
        counts as idle.
        """
        return _Interruptible(self, callback)

    def idle(self) -> "_Idle":
        """Return a context manager around a wait inside a section: other threads may fork meanwhile.

        Leaving it waits for the end of a fork. It does nothing outside sections.
        """
        return _Idle(self)

    def close(self, timeout: float = EXIT_WAIT_S) -> bool:
        """Close the gate and wait until no other thread is inside; return whether that happened in time."""
        me = get_ident()
        with self._cond:
            self._closing = True
            callbacks = list(self._on_close)
        for callback in callbacks:
            callback()
        with self._cond:
            self._cond.notify_all()  # threads that wait for a fork
            return self._cond.wait_for(lambda: not (self._depth_by_thread.keys() - {me}), timeout)

    def before_fork(self, timeout: float | None = None) -> None:
        """Wait until no other thread does native work, and allow no more. The forking thread may be in a section."""
        me = get_ident()
        if timeout is None:
            timeout = FORK_WAIT_S
        with self._cond:
            if me in self._forking:
                return  # registered more than once, see ``loader.forks``
            self._forking.add(me)
            self._cond.wait_for(lambda: not self._busy(), timeout)

    def after_fork_in_parent(self) -> None:
        """Let the other threads go on."""
        with self._cond:
            self._forking.discard(get_ident())
            self._cond.notify_all()

    def after_fork_in_child(self) -> None:
        """Forget the parent's other threads, which do not exist here, but check whether they were in native work.

        ``before_fork`` may not have waited for them: C code forks without asking Python first.
        """
        me = get_ident()
        self._forking.add(me)
        self.forked_in_noise = self.forked_in_noise or bool(self._busy())
        depth = self._depth_by_thread.get(me, 0)
        self._cond = Condition(RLock())
        self._depth_by_thread = {me: depth} if depth else {}
        self._idle &= {me}
        self._forking = set()
        self._on_close = []

    def fork_error(self) -> ForkError:
        """Return the error of a child that was forked during native work."""
        return ForkError(
            "This process was forked while another thread of its parent was loading or embedding and did not pause "
            f"within {FORK_WAIT_S:g} s. Its locks stay locked in this process, so no model can be used here. Fork when "
            "nothing is loading, or start processes with the 'spawn' or 'forkserver' method."
        )

    def enter(self, thread: int | None = None) -> None:
        """Begin a section, usually through ``section()``. Raises as that does.

        Args:
            thread: the identifier of the thread; this thread by default.
        """
        me = thread or get_ident()
        with self._cond:
            depth = self._depth_by_thread.get(me, 0)
            if self._forking and (not depth or me in self._idle):
                self._wait_for_forks(me)
            if self.forked_in_noise and not depth:
                raise self.fork_error()
            if self._closing and not depth and (thread or not is_main_thread()):
                raise ShutdownError("The interpreter is exiting; only the main thread may load or embed now.")
            self._idle.discard(me)  # for instance in a logging handler that embeds
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

    def _busy(self) -> "set[int]":
        """Return the threads that are inside and not idle. Threads that are forking are not in native code."""
        return self._depth_by_thread.keys() - self._idle - self._forking

    def _wait_for_forks(self, me: int) -> None:
        self._cond.wait_for(lambda: self._closing or not self._forking - {me})

    def _begin_idle(self) -> bool:
        """Return whether this thread is idle from now on and was not before."""
        me = get_ident()
        if me not in self._depth_by_thread or me in self._idle:
            return False
        with self._cond:
            self._idle.add(me)
            self._cond.notify_all()
        return True

    def _end_idle(self) -> None:
        me = get_ident()
        with self._cond:
            self._wait_for_forks(me)
            self._idle.discard(me)


class _Section:
    __slots__ = ("_gate",)

    def __init__(self, gate: ExitGate) -> None:
        self._gate = gate

    def __enter__(self) -> "Self":
        self._gate.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.leave()


class _Idle:
    __slots__ = ("_began", "_gate")

    def __init__(self, gate: ExitGate) -> None:
        self._gate = gate
        self._began = False

    def __enter__(self) -> None:
        self._began = self._gate._begin_idle()

    def __exit__(self, *_: object) -> None:
        if self._began:
            self._gate._end_idle()


class _Interruptible:
    __slots__ = ("_callback", "_gate", "_idle")

    def __init__(self, gate: ExitGate, callback: "Callable[[], object]") -> None:
        self._gate = gate
        self._callback = callback
        self._idle = _Idle(gate)

    def __enter__(self) -> None:
        with self._gate._cond:
            self._gate._on_close.append(self._callback)
        self._gate.interrupt_if_closed()
        self._idle.__enter__()

    def __exit__(self, *_: object) -> None:
        with self._gate._cond:
            if self._callback in self._gate._on_close:
                self._gate._on_close.remove(self._callback)
        self._idle.__exit__()


class _ImportCheckpoint:
    """A meta path finder that finds nothing, but lets a section end at any import.

    Another thread may not fork there: the surrounding modules are half-imported and locked.
    """

    def __init__(self, gate: ExitGate) -> None:
        self._gate = gate

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002 - protocol
        """Find nothing; raise LoadInterrupted when the gate is closed."""
        if self._gate._closing:
            self._gate.interrupt_if_closed()


GATE = ExitGate()
"""The gate of this process."""
