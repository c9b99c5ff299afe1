"""Running one fresh process: its answer comes on a private pipe, and its end is observed without spinning."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.data.json_text import parse
from bench.measure.worker import ANSWER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType
    from typing import IO

    from bench.measure.noise import Noise

WORKER = Path(__file__).with_name("worker.py")

STDERR_TAIL_CHARACTERS = 2000

Watch: TypeAlias = "Callable[[int], AbstractContextManager[object]]"
"""Watches the process with this id while the context lasts."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one process.

    Attributes:
        answer: the worker's answer, or None if there was none.
        exit_code: the process's exit code; negative for a signal.
        timed_out: whether it was killed for taking too long.
        spawn_ns: ``time.perf_counter_ns()`` right before the process was started.
        exit_ns: the same right after it was gone.
        started_at: wall clock time of the spawn.
        stderr_tail: the end of its standard error.
        output: its standard output.
        first_output_ns: when its first output came; None if there was none.
        cpu_s: processor seconds of the process and its own children; None if the system does not report it.
        noise: what else the machine did meanwhile; None if not recorded.
        state: how the cache state was set up and checked.
        unverified: why the caches were not in the requested state, or "".
    """

    answer: dict[str, Any] | None
    exit_code: int
    timed_out: bool
    spawn_ns: int
    exit_ns: int
    started_at: str
    stderr_tail: str = field(repr=False)
    output: bytes = field(default=b"", repr=False)
    first_output_ns: int | None = None
    cpu_s: float | None = None
    noise: Noise | None = None
    state: dict[str, Any] = field(default_factory=dict)
    unverified: str = ""


def run_worker(
    options: Mapping[str, str],
    environ: Mapping[str, str],
    timeout_s: float,
    python: str = sys.executable,
    *,
    watch: Watch | None = None,
) -> Outcome:
    """Run ``bench/measure/worker.py`` with these options and wait until it is gone, see ``run_command``."""
    return run_python(worker_command(options), environ, timeout_s, python=python, watch=watch)


def worker_command(options: Mapping[str, str]) -> list[str]:
    """Return Python's arguments for running ``bench/measure/worker.py``."""
    # -P: the worker's own folder must not become importable; its modules have common names.
    return ["-P", str(WORKER), *(f"{key}={value}" for key, value in options.items())]


def run_python(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    timeout_s: float,
    *,
    python: str = sys.executable,
    stderr_characters: int = STDERR_TAIL_CHARACTERS,
    watch: Watch | None = None,
) -> Outcome:
    """Run this Python, or another one, with the arguments, see ``run_command``."""
    return run_command([python, *arguments], environ, timeout_s, stderr_characters=stderr_characters, watch=watch)


def run_command(
    words: Sequence[str],
    environ: Mapping[str, str],
    timeout_s: float,
    *,
    folder: Path | None = None,
    stderr_characters: int = STDERR_TAIL_CHARACTERS,
    watch: Watch | None = None,
) -> Outcome:
    """Run a program in a new process group, and wait until it is gone.

    Meanwhile, the parent blocks in the kernel: ``Popen.wait(timeout)`` would poll, notice the end up to 50 ms late, and
    use a processor that the child could use. The time limit is a timer thread that kills the group.

    ``watch`` gets the process id and returns a context, which is left once the process is gone, or on an interruption;
    timed samples must not use it.
    """
    started_at = wall_clock()
    before_s = children_cpu_s()
    with tempfile.TemporaryFile() as stderr:
        with running([words], environ, timeout_s, stdin=subprocess.DEVNULL, stderr=stderr, folder=folder) as found:
            (child,) = found.children
            with watch(child.pid) if watch else nullcontext():
                output, first_output_ns = _read(child)
                child.wait()
                exit_ns = time.perf_counter_ns()
        stderr.seek(max(stderr.seek(0, os.SEEK_END) - 4 * stderr_characters, 0))
        tail = stderr.read().decode("utf-8", "replace")[-stderr_characters:]
    after_s = children_cpu_s()
    return Outcome(
        find_answer(output),
        child.returncode,
        found.timed_out.is_set(),
        found.spawn_ns,
        exit_ns,
        started_at,
        tail,
        output=output,
        first_output_ns=first_output_ns,
        cpu_s=None if before_s is None or after_s is None else after_s - before_s,
    )


@dataclass(frozen=True)
class RunningProcesses:
    """Processes that end with the context in which they were started.

    Attributes:
        children: in the order of the commands.
        spawn_ns: ``time.perf_counter_ns()`` right before the first of them was started.
        timed_out: set once they have been killed for taking too long.
    """

    children: Sequence[subprocess.Popen[bytes]]
    spawn_ns: int
    timed_out: threading.Event


@contextmanager
def running(
    commands: Sequence[Sequence[str]],
    environ: Mapping[str, str],
    timeout_s: float,
    *,
    stdin: int,
    stderr: int | IO[bytes],
    folder: Path | None = None,
) -> Iterator[RunningProcesses]:
    """Start programs; kill them and what they started after ``timeout_s``, or at the end at the latest.

    Each has its own process group and a pipe as standard output.

    Args:
        commands: for each, the program's path and its arguments.
        environ: their whole environment.
        timeout_s: time limit of all of them together.
        stdin: standard input of each.
        stderr: standard error of all.
        folder: their working folder; None for this process's.
    """
    children: list[subprocess.Popen[bytes]] = []
    timed_out = threading.Event()

    def end() -> None:
        timed_out.set()
        for child in children:
            kill_group(child)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True  # an interruption here must not make this process wait for it
    try:
        with _interrupted_later():
            spawn_ns = time.perf_counter_ns()
            for words in commands:
                child = subprocess.Popen(  # noqa: S603 - our own interpreter, or a command that the user named
                    words,
                    env=dict(environ),
                    cwd=folder,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,
                )
                children.append(child)
            timer.start()
        yield RunningProcesses(children, spawn_ns, timed_out)
    finally:
        timer.cancel()
        for child in children:
            kill_group(child)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Delay Ctrl-C until the end: otherwise it could leave behind a process that exists but is not yet recorded."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        ours = {}
    came: list[tuple[int, FrameType | None]] = []
    for number in ours:
        signal.signal(number, lambda *what: came.append(what))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for what in came[:1]:
            ours[signal.Signals(what[0])](*what)


def refused(message: str) -> Outcome:
    """Return the outcome of a sample that this machine cannot take; no process was started."""
    now_ns = time.perf_counter_ns()
    return Outcome({"status": "unsupported", "message": message}, 0, False, now_ns, now_ns, wall_clock(), "")


def find_answer(output: bytes) -> dict[str, Any] | None:
    """Return the last answer of a worker in its output, or None."""
    for line in reversed(output.splitlines()):
        if line.startswith(ANSWER_PREFIX):
            try:
                answer = parse(line[len(ANSWER_PREFIX) :].decode())  # or its record could not be read back
            except ValueError:
                return None
            return answer if isinstance(answer, dict) else None
    return None


def wall_clock() -> str:
    """Return the time of day, ISO 8601 with time zone."""
    return datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="milliseconds")


def children_cpu_s() -> float | None:
    """Return the processor seconds of all children that have ended; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started, if it is still there."""
    if child.poll() is not None:
        return
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except ProcessLookupError:
        pass


def _read(child: subprocess.Popen[bytes]) -> tuple[bytes, int | None]:
    """Return the whole output, and when its first part came."""
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    descriptor, parts, first_ns = child.stdout.fileno(), [], None
    while part := os.read(descriptor, 2**16):
        first_ns = first_ns or time.perf_counter_ns()
        parts.append(part)
    return b"".join(parts), first_ns
