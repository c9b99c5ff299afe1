"""One bench at a time on a machine: two that overlap would measure each other."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from bench.errors import ConfigError
from bench.process import WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARENT_OPTION = "parent"
"""Option by which every worker is told the process id of its bench."""

_NAME = "embedding-bench.lock"


@contextmanager
def machine_lock(path: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of this machine; waits, and says so, while another bench holds it.

    What a killed bench left running is ended first.

    Args:
        path: the lock's file; None for one in the folder for temporary files.
        say: is told what is waited for.

    Raises:
        ConfigError: the file cannot be opened, for instance because another user made it.
    """
    file = Path(path) if path else Path(tempfile.gettempdir()) / _NAME
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another bench measures on this machine (it holds {file}); waiting until it ends")
            lock.acquire(poll_interval=0.5)
    except OSError as error:
        raise ConfigError(
            f"The lock {file}, which keeps two benches of this machine apart, cannot be taken: {error.strerror}. "
            "Name another file that all users of this machine may write: machine_lock=FILE"
        ) from error
    try:
        end_orphans()
        yield
    finally:
        lock.release()


def end_orphans() -> int:
    """End workers whose bench is gone, return how many: they would disturb what is measured next."""
    ended = 0
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            parent = next((word for word in words if word.startswith(f"{PARENT_OPTION}=")), None)
            if parent is None or str(WORKER) not in words or parent == f"{PARENT_OPTION}={process.ppid()}":
                continue
            process.kill()
            process.wait(timeout=10)
        except (psutil.Error, OSError):
            continue
        ended += 1
    return ended


def parent_option() -> dict[str, str]:
    """Return the option that tells a worker whose it is."""
    return {PARENT_OPTION: str(os.getpid())}
