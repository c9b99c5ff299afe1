"""Starts client processes, lets them begin together and gathers their observations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.load.observations import Observations, empty, joined, read_observations
from bench.measure.process import STDERR_TAIL_CHARACTERS, find_answer, run_python, running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from bench.load.client import ClientTask

MODULE = "bench.load.client"

HEAD_START_NS = 200_000_000
"""Time between the start signal and the beginning, so that all processes have read it by then."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """The outcome of a phase.

    Attributes:
        message: why there are no observations, or "".
        begin_ns: ``time.perf_counter_ns()`` at the beginning.
        facts: what the first process's target reported about itself.
        cpu_s: processor seconds of all client processes from the beginning on.
        messages: what was wrong with answers, and how often.
    """

    message: str = ""
    begin_ns: int = 0
    observations: Observations = field(default_factory=lambda: empty(0))
    facts: dict[str, str] = field(default_factory=dict)
    cpu_s: float | None = None
    messages: dict[str, int] = field(default_factory=dict)


def make_references(task: ClientTask, environ: Mapping[str, str], folder: Path, timeout_s: float) -> dict[str, Any]:
    """Make the references in a separate process and return its answer.

    Raises:
        BenchError: it failed.
    """
    outcome = run_python(["-m", MODULE, str(_write(task, folder))], environ, timeout_s)
    if outcome.answer is None:
        how = "took too long" if outcome.timed_out else f"ended with exit code {outcome.exit_code}"
        raise BenchError(f"The process that makes the reference vectors {how}: {_last_line(outcome.stderr_tail)}")
    return outcome.answer


def run_clients(tasks: Sequence[ClientTask], environ: Mapping[str, str], folder: Path, timeout_s: float) -> Gathered:
    """Run client processes together. The failure of one is a result, not an exception.

    Args:
        tasks: one for each process.
        environ: the processes' environment.
        folder: private to the run, for tasks.
        timeout_s: all are killed after this many seconds.
    """
    with tempfile.TemporaryFile() as stderr:
        commands = [[sys.executable, "-m", MODULE, str(_write(task, folder))] for task in tasks]
        with running(commands, environ, timeout_s, stdin=subprocess.PIPE, stderr=stderr) as found:
            children = found.children
            ready = [_next_answer(child) for child in children]
            begin_ns = time.perf_counter_ns() + HEAD_START_NS
            if all(answer is not None for answer in ready):
                for child in children:
                    _tell(child, begin_ns)
            done = [_next_answer(child) for child in children] if None not in ready else []
        answers = [answer for answer in (*ready, *done) if answer is not None]
        if len(answers) < 2 * len(tasks):
            why = f"killed after {timeout_s:g} s" if found.timed_out.is_set() else _last_line(_tail(stderr))
            return Gathered(f"a client process did not finish: {why}", begin_ns)
    messages: Counter[str] = Counter()
    for answer in answers[len(tasks) :]:
        messages.update(dict(answer["messages"]))
    return Gathered(
        "",
        begin_ns,
        joined([read_observations(Path(task.output)) for task in tasks]),
        answers[0]["facts"],
        sum(after["cpu_s"] - before["cpu_s"] for before, after in zip(answers, answers[len(tasks) :], strict=False)),
        dict(messages),
    )


def _write(task: ClientTask, folder: Path) -> Path:
    path = folder / f"task-{task.part}.json"
    path.write_text(json.dumps(asdict(task)), encoding="utf-8")
    return path


def _next_answer(child: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Return the next answer of a child; None if it ends before."""
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    for line in child.stdout:
        answer = find_answer(line)
        if answer is not None:
            return answer
    return None


def _tell(child: subprocess.Popen[bytes], begin_ns: int) -> None:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    try:
        child.stdin.write(b"%d\n" % begin_ns)
        child.stdin.flush()
    except OSError:  # it is gone; its missing answer will show that
        pass


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(max(stderr.seek(0, os.SEEK_END) - STDERR_TAIL_CHARACTERS, 0))
    return stderr.read().decode("utf-8", "replace")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
