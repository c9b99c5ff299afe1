"""What ``fork`` does to loaded models, and how it is noticed.

A forked child has one thread. A load that was under way in another thread of the parent never ends there, modules that
were being imported stay half-imported and locked, and the thread pool of PyTorch (OpenMP) waits for workers that do not
exist. None of this can be repaired in the child, so using such a model there is an error, at once, instead of a hang.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_generation = 0
_entered: set[str] = set()
_tainted: set[str] = set()
_listeners: "list[Callable[[], object]]" = []


def process_token() -> int:
    """Return a number that differs between a process and its forked children."""
    return _generation


def in_forked_child(token: int) -> bool:
    """Whether ``fork`` happened since ``process_token()`` returned ``token``, and this is the child."""
    return token != _generation


def enter_engine(name: str) -> None:
    """Note that this process began to import the engine ``name``: children forked from now on cannot use it."""
    _entered.add(name)


def tainted(name: str) -> bool:
    """Whether a parent of this process had begun to import the engine ``name`` before it forked."""
    return name in _tainted


def after_fork_in_child(listener: "Callable[[], object]") -> None:
    """Call ``listener`` in every forked child, right after the fork."""
    _listeners.append(listener)


def _notify() -> None:
    global _generation
    _generation += 1
    _tainted.update(_entered)
    for listener in _listeners:
        listener()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_notify)
