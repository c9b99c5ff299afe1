"""Samples that something watches: which import costs what, and who allocates what. Their times mean nothing."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.process import STDERR_TAIL_CHARACTERS, Outcome, run_python, run_worker, worker_command
from bench.profiles.importtime import to_facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.plan import Cell

FLAME_GRAPHS = "flamegraphs"
"""Folder of a run that holds the flame graphs of its cells."""

_STDERR_CHARACTERS = 8_000_000
"""Enough for a line for each of tens of thousands of modules."""


def import_times(options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run a worker under ``-X importtime``; its facts get ``imports``, see ``bench.profiles.importtime``."""
    arguments = ["-X", "importtime", *worker_command(options)]
    outcome = run_python(arguments, environ, timeout_s, stderr_characters=_STDERR_CHARACTERS)
    outcome = _with_facts(outcome, {"imports": to_facts(outcome.stderr_tail)})
    return replace(outcome, stderr_tail=outcome.stderr_tail[-STDERR_TAIL_CHARACTERS:])


def allocations(
    cell: Cell, options: Mapping[str, str], environ: Mapping[str, str], timeout_s: float, scratch: Path, folder: Path
) -> Outcome:
    """Run a worker under memray; its facts get ``allocations`` and ``flame_graph``.

    Both are explained in ``bench.profiles.allocations``.
    """
    capture = scratch / "capture.bin"
    capture.unlink(missing_ok=True)
    # A label has the model's key, which models that are swept by name have in common.
    name = f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', cell.label())}-{zlib.crc32(cell.model.encode()):08x}.html"
    graph = folder / FLAME_GRAPHS / name
    try:
        outcome = run_worker({**options, "capture": str(capture)}, environ, timeout_s)
        if outcome.answer is None or outcome.answer["status"] != "ok":
            return outcome
        graph.parent.mkdir(exist_ok=True)
        arguments = ["-P", "-m", "bench.profiles.allocations", str(capture), str(graph)]
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
