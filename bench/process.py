"""Running one worker: a fresh process, its answer on a private pipe, its end observed without spinning."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.worker import ANSWER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds ``bench`` and ``loader``: a checkout, or site-packages."""

STDERR_TAIL_CHARACTERS = 2000

DROPPED_VARIABLES = frozenset(
    {"PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONVERBOSE"}
)
"""Variables that make every start slower than a user's: without bytecode, a checkout compiles itself each time."""


@dataclass(frozen=True)
class Outcome:
    """What became of one process.

    Attributes:
        answer: what the worker said, or None if it said nothing.
        exit_code: of the process; negative for a signal.
        timed_out: whether it was killed for taking too long.
        spawn_ns: ``time.perf_counter_ns()`` right before the process was made.
        exit_ns: the same right after it was gone.
        started_at: wall clock time of the spawn.
        stderr_tail: the end of its standard error.
    """

    answer: dict[str, Any] | None
    exit_code: int
    timed_out: bool
    spawn_ns: int
    exit_ns: int
    started_at: str
    stderr_tail: str = field(repr=False)


def worker_environment(cache_folder: Path) -> dict[str, str]:
    """Return the environment of every worker: the caller's, less what slows Python down, plus what is fixed.

    Hub access is off for every subject alike: the models are here already, and a hub that cannot be reached costs
    minutes of retries.
    """
    environ = {key: value for key, value in os.environ.items() if key not in DROPPED_VARIABLES}
    environ |= fixed_variables(cache_folder)
    if str(ROOT) not in sys.path[1:]:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return environ


def fixed_variables(cache_folder: Path) -> dict[str, str]:
    """Return the variables that are the same in every run."""
    return {
        "EMBEDDING_LOADER_CACHE": str(cache_folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def run_worker(options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run ``bench/worker.py`` with these options and wait until it is gone."""
    words = [f"{key}={value}" for key, value in options.items()]
    # -P: the worker's own folder must not become importable; its modules have everyday names.
    return run_python(["-P", str(ROOT / "bench" / "worker.py"), *words], environ, timeout_s)


def run_python(arguments: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run this Python with the arguments, in a process group of its own, and wait until it is gone.

    The parent blocks in the kernel meanwhile: ``Popen.wait(timeout)`` would poll, up to 50 ms late, on a processor that
    the child could use. The time limit is a timer thread that kills the group.
    """
    started_at = datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="milliseconds")
    with tempfile.TemporaryFile() as stderr:
        spawn_ns = time.perf_counter_ns()
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        timed_out = threading.Event()
        timer = threading.Timer(timeout_s, _kill, (child, timed_out))
        timer.start()
        try:
            assert child.stdout is not None  # noqa: S101 - it is a pipe
            output = child.stdout.read()
            child.wait()
            exit_ns = time.perf_counter_ns()
        finally:
            timer.cancel()
            _kill(child)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        stderr.seek(max(stderr.seek(0, os.SEEK_END) - 4 * STDERR_TAIL_CHARACTERS, 0))
        tail = stderr.read().decode("utf-8", "replace")[-STDERR_TAIL_CHARACTERS:]
    return Outcome(_answer(output), child.returncode, timed_out.is_set(), spawn_ns, exit_ns, started_at, tail)


def _answer(output: bytes) -> dict[str, Any] | None:
    for line in reversed(output.splitlines()):
        if line.startswith(ANSWER_PREFIX):
            try:
                answer = json.loads(line[len(ANSWER_PREFIX) :])
            except ValueError:
                return None
            return answer if isinstance(answer, dict) else None
    return None


def _kill(child: subprocess.Popen[bytes], timed_out: threading.Event | None = None) -> None:
    """Kill the child and whatever it started, if it is still there."""
    if child.poll() is not None:
        return
    if timed_out is not None:
        timed_out.set()
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except ProcessLookupError:
        pass
