"""The service's process, seen from outside: finding it, its memory and processor time, and stopping it.

Its sockets are in a folder of this run alone, so that the user's own service is neither used nor stopped; a process is
ours if that folder's name is in its environment or its command.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.measure.process import run_python
from bench.measure.variables import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAMPLE_EVERY_S = 1.0
LOOK_EVERY_S = 0.01
"""How often to look whether a process has ended."""
STOP_S = 30.0
"""Time limit of the command that stops a service, and then of the process's end before it is killed."""


@contextmanager
def private_runtime() -> Iterator[Path]:
    """Yield a folder for sockets, which only this user may enter."""
    # A socket's path has at most about a hundred bytes, which a long TMPDIR would use up.
    short = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None  # noqa: S108 - mkdtemp makes it private
    folder = Path(tempfile.mkdtemp(prefix="oel-load-", dir=short)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_service(runtime: Path) -> psutil.Process | None:
    """Return the process that has its socket in this folder; None if there is none or the system does not report it."""
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = [process for process in _processes_of(runtime) if process.pid not in own]
    # The oldest one started the others.
    return min(found, key=lambda process: process.create_time(), default=None)


def stop_service(runtime: Path, environ: Mapping[str, str], python: str = sys.executable) -> str:
    """Stop every process with its socket in this folder; return what went wrong, or ""."""
    done = run_python(["-P", "-m", "loader", "stop", "--force"], environ, STOP_S, python=python)
    alive = _alive_after(_processes_of(runtime), STOP_S if done.exit_code == 0 else 1.0)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _alive_after(alive, STOP_S)
    return f"{len(alive)} processes of the service had to be killed" if alive else ""


def _alive_after(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that have not.

    ``psutil.wait_procs`` would wait until somebody reaps them: they are no children of ours, and some init processes
    take seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while alive := [process for process in processes if not _has_ended(process)]:
        if time.monotonic() >= deadline_s:
            break
        time.sleep(LOOK_EVERY_S)
    return alive


def _has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended with all its threads, reaped or not."""
    try:
        if not process.is_running():
            return True
        # It is a zombie once its first thread is gone; another one may still hold its files.
        is_last = not sys.platform.startswith("linux") or len(list(Path(f"/proc/{process.pid}/task").iterdir())) <= 1
        return is_last and process.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


def cpu_s(process: psutil.Process | None) -> float | None:
    """Return the processor seconds of a process so far; None if it is gone."""
    try:
        times = process.cpu_times() if process else None
    except psutil.Error:
        return None
    return times.user + times.system if times else None


class MemorySampler:
    """Writes the memory of a process once per second, as a line of JSON, as long as the context lasts.

    A line has ``at_ns`` (``time.perf_counter_ns()``), ``rss_bytes``, and on Linux ``rss_anon_bytes``.
    """

    def __init__(self, process: psutil.Process | None, path: Path) -> None:
        self._process, self._path = process, path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> None:
        """Begin."""
        if self._process is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Take the last sample."""
        self._ended.set()
        if self._process is not None:
            self._thread.join()

    def _sample(self) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            ended = False
            while not ended:
                ended = self._ended.wait(SAMPLE_EVERY_S)
                memory = memory_of(self._process) if self._process else {}
                if not memory:
                    return
                file.write(json.dumps({"at_ns": time.perf_counter_ns(), **memory}) + "\n")
                file.flush()


def memory_of(process: psutil.Process) -> dict[str, int]:
    """Return ``rss_bytes`` and, on Linux, ``rss_anon_bytes`` of a process; empty if it is gone."""
    try:
        memory = {"rss_bytes": process.memory_info().rss}
        if sys.platform.startswith("linux"):
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
            own_kib = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), None)
            memory |= {} if own_kib is None else {"rss_anon_bytes": int(own_kib) * 1024}
    except (psutil.Error, OSError, ValueError, IndexError):
        return {}
    return memory


def _processes_of(runtime: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.environ().get(RUNTIME, ""), *process.cmdline()]
        except (psutil.Error, OSError):  # another user's, or gone
            continue
        if process.pid != os.getpid() and any(str(runtime) in word for word in words):
            found.append(process)
    return found
