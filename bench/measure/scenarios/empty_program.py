"""An empty Python program, ``python -c pass``: what no Python program can be faster than.

It runs no line of the harness, so its only marks are from outside.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.measure.process import run_python
from bench.plan.cell import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.measure.process import Outcome
    from bench.plan.cell import Cell

ARGUMENTS = ("-c", "pass")


def run(environ: Mapping[str, str], timeout_s: float, python: str = sys.executable) -> Outcome:
    """Run it once and return the outcome, with an answer like a worker's.

    It does nothing after Python's start, and has no vector to wait for: ``python_up`` and ``first_embedding``, where
    ``total_ms`` ends, are the end of the process.
    """
    outcome = run_python(ARGUMENTS, environ, timeout_s, python=python)
    if outcome.timed_out or outcome.exit_code != 0:
        return outcome
    answer: dict[str, Any] = {
        "status": "ok",
        "marks_ns": {"python_up": outcome.exit_ns, "first_embedding": outcome.exit_ns},
        "memory": {},
        "cpu_s": outcome.cpu_s,
        "facts": {"engine": ""},
        "vectors": [],
    }
    return replace(outcome, answer=answer)


def refusal(cell: Cell) -> str:
    """Return why a cell cannot be measured, or "". Call it before anything runs for the cell."""
    if cell.subject != EMPTY:
        return ""
    if cell.scenario in {"search_command", "concurrent"}:
        return f"an empty program does nothing of {cell.scenario}: use scenario=idle"
    if cell.cache_state == "cold_disk":
        return "which files an empty program uses is not known, so they cannot be evicted: use cache_state=cold_weights"
    return ""
