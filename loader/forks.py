"""What ``fork`` does to loaded models, and how we detect it.

A forked child has one thread. A load that another thread of the parent had in progress never ends there, and the thread
pools of PyTorch (OpenMP) and ONNX Runtime wait for workers that do not exist. The child cannot repair this, so using
such a model there raises an error at once instead of hanging. For what other threads hold only briefly, such as the
locks of the matrix library and of modules being imported, the fork waits: see ``loader.exit_gate``.
"""

import os
import sys
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_generation = 0
_entered: set[str] = set()
_tainted: set[str] = set()
_listeners: "list[Callable[[], object]]" = []
_LOCKS_OVER_FORKS = (("logging", "_lock"), ("concurrent.futures.thread", "_global_shutdown_lock"))
"""Modules that hold a lock while a process forks, in the standard library and in what the engines import."""
_before: "Callable[[], object] | None" = None


class Living:
    """The objects of some kind that still exist; what is used of ``weakref.WeakSet``, which takes more imports."""

    def __init__(self) -> None:
        self._references: set[ref[Any]] = set()

    def add(self, one: object) -> None:
        """Know this object too, without keeping it alive."""
        self._references.add(ref(one, self._references.discard))

    def __iter__(self) -> "Iterator[Any]":
        for reference in list(self._references):
            one = reference()
            if one is not None:
                yield one


def process_token() -> int:
    """Return a number that differs between a process and its forked children."""
    return _generation


def in_forked_child(token: int) -> bool:
    """Whether ``fork`` happened since ``process_token()`` returned ``token``, and this is the child."""
    return token != _generation


def enter_engine(name: str) -> None:
    """Record that this process began to import the engine ``name``: children forked from now on cannot use it."""
    _entered.add(name)


def tainted(name: str) -> bool:
    """Whether a parent of this process had begun to import the engine ``name`` before it forked."""
    return name in _tainted


def after_fork_in_child(listener: "Callable[[], object]", *, first: bool = False) -> None:
    """Call ``listener`` in every forked child, right after the fork; ``first`` puts it before all others."""
    _listeners.insert(0 if first else len(_listeners), listener)


def around_forks(before: "Callable[[], object]", after_in_parent: "Callable[[], object]") -> None:
    """Call ``before`` ahead of every fork, and ``after_in_parent`` after it."""
    global _before
    _before = before
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_wait, after_in_parent=after_in_parent)


def come_first() -> None:
    """Have ``before`` of ``around_forks`` called earlier than what other modules have registered so far.

    Python calls the functions in reverse order of registration. Some take locks; if we then waited for a thread that
    waits for such a lock, the fork would hang.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_wait)


def _wait() -> None:
    """Call ``before``, then take the locks of modules imported meanwhile, which they release after the fork.

    Python calls what such a module has registered for after the fork, but no longer what it has registered for before.
    """
    absent = [(module, lock) for module, lock in _LOCKS_OVER_FORKS if module not in sys.modules]
    if _before is not None:
        _before()
    for module, lock in absent:
        found = getattr(sys.modules.get(module), lock, None)
        if found is not None:
            found.acquire(blocking=False)


def _notify() -> None:
    global _generation
    _generation += 1
    _tainted.update(_entered)
    for listener in _listeners:
        listener()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_notify)
