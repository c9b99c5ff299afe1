"""No process and no folder of a gate outlives it, not even after ``kill -9``.

Every process that a gate starts carries a marker in its environment, and every file, including these processes'
temporary files, lies in one scratch folder. A small second process, the janitor, waits for the end of a pipe that only
the gate holds open. However the gate ends, the system closes the pipe; the janitor then ends all processes with the
marker and removes the folder. Until then it sleeps in the kernel and disturbs no measurement.

This file is also the janitor's program, so it imports nothing of ours when it starts.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARKER = "BENCH_GATE"
"""The environment variable that marks the processes of a gate."""

_READY = "ready"
_SWEEP_LIMIT_S = 30.0
_EMPTY_LOOKS = 2
_REMOVE_TRIES = 50
_PAUSE_S = 0.02


@dataclass(frozen=True)
class Guard:
    """What a gate works with.

    Attributes:
        folder: where everything temporary goes.
        variables: what every process that it starts must have in its environment.
    """

    folder: Path
    variables: Mapping[str, str]


@contextmanager
def guarded(parent: Path | None = None) -> Iterator[Guard]:
    """Provide a scratch folder and a marker; however this ends, no marked process and no folder remains.

    A process forked from this one that does not start another program must not outlive it: it holds the pipe too.

    Args:
        parent: where to create the folder; None for the system's folder for temporary files.

    Raises:
        BenchError: the folder cannot be created, or the janitor does not start.
    """
    from bench.errors import BenchError
    from bench.measure.variables import temporary_variables

    try:
        folder = Path(tempfile.mkdtemp(prefix="bench-gate-", dir=parent)).resolve()
    except OSError as error:
        raise BenchError(f"Cannot create a scratch folder in {parent or tempfile.gettempdir()}: {error}") from error
    marker = uuid.uuid4().hex
    try:
        janitor = _start(folder, marker)
    except BaseException:
        remove(folder)
        raise
    try:
        yield Guard(folder, {MARKER: marker, **temporary_variables(folder / "tmp")})
    finally:
        try:
            sweep(marker)
            remove(folder)
        finally:
            assert janitor.stdin is not None  # noqa: S101 - it is a pipe
            janitor.stdin.close()
            janitor.wait()


def sweep(marker: str, limit_s: float = _SWEEP_LIMIT_S) -> bool:
    """Kill every other process whose environment has this marker, until none is left.

    Two looks in a row must find none: while a process replaces its program, its environment cannot be read. This does
    not wait for any process: that would take children's exit codes from those who wait for them.

    Returns:
        False if some were still there after ``limit_s`` seconds.
    """
    deadline_s = time.monotonic() + limit_s
    empty_looks = 0
    while empty_looks < _EMPTY_LOOKS:
        if time.monotonic() > deadline_s:
            return False
        found = _marked(marker)
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        empty_looks = 0 if found else empty_looks + 1
        time.sleep(_PAUSE_S)
    return True


def remove(folder: Path) -> bool:
    """Remove a folder, including read-only files and folders in it; False if anything is left.

    Retries for about a second: a process that is being killed may still write.
    """
    for _ in range(_REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return True
        _make_writable(folder)
        time.sleep(_PAUSE_S)
    return False


def _start(folder: Path, marker: str) -> subprocess.Popen[str]:
    from bench.errors import BenchError

    # A gate may be run by another gate, whose sweep must not end this janitor.
    environ = {name: value for name, value in os.environ.items() if name != MARKER}
    janitor = subprocess.Popen(  # noqa: S603 - our own interpreter
        # -P: modules of this folder have everyday names.
        [sys.executable, "-P", str(Path(__file__).resolve()), str(folder), marker],
        env=environ,
        cwd=folder.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert janitor.stdin is not None  # noqa: S101 - both are pipes
    assert janitor.stdout is not None  # noqa: S101
    said = ""
    try:
        said = janitor.stdout.readline().strip()
        if said != _READY:
            said += f"\n{janitor.stdout.read()}"
    finally:
        janitor.stdout.close()
        if said != _READY:
            janitor.stdin.close()
            janitor.wait()
    if said != _READY:
        raise BenchError(f"The gate's janitor did not start:\n{said}")
    return janitor


def _marked(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARKER) == marker:
                found.append(process)
        except (psutil.Error, OSError):  # gone, or another user's
            continue
    return found


def _make_writable(folder: Path) -> None:
    for root, folders, files in os.walk(folder):
        # Only Windows refuses to remove a read-only file; git makes many.
        for name in (".", *folders, *(files if os.name == "nt" else ())):
            path = Path(root, name)
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(stat.S_IRWXU)


def main(folder: str, marker: str) -> None:
    """Run the janitor: wait for the end of standard input, then clean up."""
    # Only the gate decides when this ends; a Ctrl-C in the terminal reaches the gate as well.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.write(1, f"{_READY}\n".encode())
    while os.read(0, 1024):
        pass
    sweep(marker)
    remove(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
