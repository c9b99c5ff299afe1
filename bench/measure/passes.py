"""Watched samples: imports, memory over time, and who allocates what. Their times do not enter any figure."""

from __future__ import annotations

import re
import sys
import zlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.measure.process import STDERR_TAIL_CHARACTERS, Outcome, refused, run_python, run_worker, worker_command
from bench.measure.profiles import memory_timeline
from bench.measure.profiles.importtime import to_facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.plan.cell import Cell

FLAME_GRAPHS = "flamegraphs"
"""Folder of a run for the flame graphs of its cells."""

_STDERR_CHARACTERS = 8_000_000
"""Enough for a line for each of tens of thousands of modules."""


def import_times(options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run a worker under ``-X importtime``; its facts get ``imports`` and ``import_tree``.

    Both are explained in ``bench.measure.profiles.importtime``.
    """
    arguments = ["-X", "importtime", *worker_command(options)]
    outcome = run_python(arguments, environ, timeout_s, stderr_characters=_STDERR_CHARACTERS)
    outcome = _with_facts(outcome, to_facts(outcome.stderr_tail))
    return replace(outcome, stderr_tail=outcome.stderr_tail[-STDERR_TAIL_CHARACTERS:])


def memory(
    options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float, python: str = sys.executable
) -> Outcome:
    """Run a worker as for a timed sample; its facts get ``memory_timeline``.

    It is explained in ``bench.measure.profiles.memory_timeline``.
    """
    if not memory_timeline.is_supported():
        return refused("this system has no /proc/PID/statm, which reports a running process's memory: use Linux")
    readings: list[memory_timeline.Reading] = []
    watch = partial(memory_timeline.recorded, readings)
    outcome = run_worker(options, environ, timeout_s, python, watch=watch)
    return _with_facts(outcome, {"memory_timeline": memory_timeline.to_facts(readings, outcome.spawn_ns)})


def allocations(
    cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float, scratch: Path, folder: Path
) -> Outcome:
    """Run a worker under memray; its facts get ``allocations`` and ``flame_graph``.

    Both are explained in ``bench.measure.profiles.allocations``.
    """
    capture = scratch / "capture.bin"
    capture.unlink(missing_ok=True)
    # A label has the model's key, which models swept by name share.
    name = f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', cell.label())}-{zlib.crc32(cell.model.encode()):08x}.html"
    graph = folder / FLAME_GRAPHS / name
    try:
        outcome = run_worker({**options, "capture": str(capture)}, environ, timeout_s)
        if outcome.answer is None or outcome.answer["status"] != "ok":
            return outcome
        graph.parent.mkdir(exist_ok=True)
        arguments = ["-P", "-m", "bench.measure.profiles.allocations", str(capture), str(graph)]
        reduced = run_python(arguments, environ, timeout_s)
    finally:
        capture.unlink(missing_ok=True)
    if reduced.answer is None or "error" in reduced.answer:
        said = (reduced.answer or {}).get("error", reduced.stderr_tail)
        return replace(outcome, answer={"status": "failed", "message": f"memray's file cannot be read: {said}"})
    facts = {"allocations": reduced.answer, "flame_graph": graph.relative_to(folder).as_posix()}
    return _with_facts(outcome, facts)


def _with_facts(outcome: Outcome, facts: Mapping[str, object]) -> Outcome:
    if outcome.answer is None or outcome.answer["status"] != "ok":
        return outcome
    return replace(outcome, answer={**outcome.answer, "facts": {**outcome.answer["facts"], **facts}})
