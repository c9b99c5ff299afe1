"""The scenario ``concurrent``: several processes that use the same model at the same time, and what they take together.

Proportional set size (PSS): a page that several processes share counts for each of them by its fraction, so the sum
over all processes is what they take together. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from bench.measure.process import (
    STDERR_TAIL_CHARACTERS,
    Outcome,
    children_cpu_s,
    find_answer,
    running,
    wall_clock,
    worker_command,
)
from bench.measure.worker import proportional_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_together(
    count: int,
    options: Mapping[str, str],
    environ: Mapping[str, str],
    timeout_s: float,
    python: str = sys.executable,
) -> Outcome:
    """Run this many workers at the same time; read their memory once all have their vectors, before any has ended.

    Returns:
        one outcome for all of them: each mark is from the last process to reach it, processor seconds are summed, and
        ``memory["together"]`` has ``pss_bytes`` and ``rss_bytes`` of all. If one of them failed, its outcome.
    """
    started_at, exit_codes, before_s = wall_clock(), [], children_cpu_s()
    with tempfile.TemporaryFile() as stderr:
        commands = [[python, *worker_command({**options, "stay": "1"})]] * count
        with running(commands, environ, timeout_s, stdin=subprocess.PIPE, stderr=stderr) as found:
            children = found.children
            # A worker closes its end of the pipe after its answer, and keeps running.
            answers = [find_answer(child.stdout.read()) for child in children if child.stdout is not None]
            memory = [proportional_memory(str(child.pid)) for child in children]
            for child in children:
                if child.stdin is not None:
                    child.stdin.close()
                exit_codes.append(child.wait())
            exit_ns = time.perf_counter_ns()
        stderr.seek(max(stderr.seek(0, os.SEEK_END) - STDERR_TAIL_CHARACTERS, 0))
        tail = stderr.read().decode("utf-8", "replace")
    exit_code = next((code for code in exit_codes if code != 0), 0)
    answer = _together(answers, memory)
    after_s = children_cpu_s()
    cpu_s = None if before_s is None or after_s is None else after_s - before_s
    timed_out = found.timed_out.is_set()
    return Outcome(answer, exit_code, timed_out, found.spawn_ns, exit_ns, started_at, tail, cpu_s=cpu_s)


def _together(answers: Sequence[dict[str, Any] | None], memory: Sequence[Mapping[str, int]]) -> dict[str, Any] | None:
    """Return one answer for all processes; if any failed, the answer of one that did."""
    done = []
    for answer in answers:
        if answer is None or answer["status"] != "ok":
            return answer
        done.append(answer)
    if not all("pss_bytes" in figures for figures in memory):
        return {"status": "unsupported", "message": "this system does not report the proportional set size (PSS)"}
    marks = {name: max(answer["marks_ns"][name] for answer in done) for name in done[0]["marks_ns"]}
    together = {
        "pss_bytes": sum(figures["pss_bytes"] for figures in memory),
        "rss_bytes": sum(answer["memory"]["steady"]["rss_bytes"] for answer in done),
    }
    return {
        **done[0],
        "marks_ns": marks,
        "memory": {"together": together},
        "cpu_s": sum(answer["cpu_s"] for answer in done),
        "facts": {**done[0]["facts"], "processes": len(done)},
    }
