"""One bench at a time on a machine: two at once would measure each other."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout

from bench.errors import ConfigError
from bench.measure.process import WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARENT_OPTION = "parent"
"""Option that tells every worker the process id of its bench."""

_NAME = "embedding-bench.lock"


@contextmanager
def machine_lock(path: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine's lock; waits, with a message, while another bench holds it.

    Workers that a killed bench left running are ended first.

    Args:
        path: the lock's file; None for one in the folder for temporary files.
        say: is told what this waits for.

    Raises:
        ConfigError: the file cannot be opened, for instance because another user made it.
    """
    file = Path(path) if path else Path(tempfile.gettempdir()) / _NAME
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another bench on this machine, which holds {file}")
            lock.acquire(poll_interval=0.5)
    except OSError as error:
        raise ConfigError(
            f"Cannot lock {file}, which keeps two benches on this machine from overlapping: {error.strerror}. "
            "Choose another file that all users of this machine can write: machine_lock=FILE"
        ) from error
    try:
        end_orphans()
        yield
    finally:
        lock.release()


def end_orphans() -> int:
    """End workers whose bench is gone, because they would disturb the next samples; return their number."""
    ended = 0
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            parent = next((word for word in words if word.startswith(f"{PARENT_OPTION}=")), None)
            if parent is None or str(WORKER) not in words or parent == f"{PARENT_OPTION}={process.ppid()}":
                continue
            if _numbering(process.pid) != _numbering(os.getpid()):
                continue  # in a container, where its parent has another id than here
            process.kill()
            process.wait(timeout=10)
        except (psutil.Error, OSError):
            continue
        ended += 1
    return ended


def _numbering(pid: int) -> str:
    """Return the namespace of the process ids that this process sees; "" if the system has only one."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def parent_option() -> dict[str, str]:
    """Return the option that tells a worker which bench it belongs to."""
    return {PARENT_OPTION: str(os.getpid())}
