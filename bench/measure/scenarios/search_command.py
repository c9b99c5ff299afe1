"""The scenario ``search_command``: a program as a user calls it, from its start to its first result.

The program is ``docs/examples/aur.py``; what it searches is made by ``bench.quality.search_index``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.measure.process import refused, run_python
from bench.plan.cell import strategy_of
from bench.plan.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.measure.process import Outcome
    from bench.plan.cell import Cell

PROGRAM = ROOT / "docs" / "examples" / "aur.py"
QUERY = "database connection"
NOT_OFFERED = "No engine can compute"
"""How the loader's message begins if strategy and engine do not go together; a program can only pass it on."""

PLAIN = "plain"
"""The program's name for sentence-transformers without a loader."""


def search(
    cell: Cell,
    options: Mapping[str, str],
    database: str,
    environ: Mapping[str, str],
    timeout_s: float,
    python: str = sys.executable,
) -> Outcome:
    """Search once.

    Returns:
        the outcome. Its answer has one mark, ``results``: when the first line of output came. ``facts["results"]`` are
        the places that were found, best first.
    """
    reason = _unsupported(cell, database)
    if reason:
        return refused(reason)
    # The name that plain sentence-transformers understands too: an index belongs to the name it was made with.
    words = ["search", QUERY, "--database", database, "--model", options["reference_model"]]
    words += ["--strategy", PLAIN] if cell.is_baseline else ["--strategy", strategy_of(cell), "--engine", cell.engine]
    if cell.device == "cpu":
        environ = {**environ, "CUDA_VISIBLE_DEVICES": ""}
    outcome = run_python(["-P", str(PROGRAM), *words], environ, timeout_s, python=python)
    return replace(outcome, answer=_answer(outcome))


def _answer(outcome: Outcome) -> dict[str, object] | None:
    lines = outcome.output.decode("utf-8", "replace").splitlines()
    if outcome.exit_code != 0 or outcome.first_output_ns is None:
        said = outcome.stderr_tail.strip().rpartition("\n")[2]
        if outcome.timed_out:
            return None
        message = f"exit code {outcome.exit_code}, {len(lines)} lines of output: {said}"
        return {"status": "unsupported" if NOT_OFFERED in said else "failed", "message": message}
    return {
        "status": "ok",
        "marks_ns": {"results": outcome.first_output_ns},
        "memory": {},
        "cpu_s": outcome.cpu_s,
        "facts": {"results": [line.split()[1] for line in lines if len(line.split()) > 1]},
        "vectors": [],
    }


def _unsupported(cell: Cell, database: str) -> str:
    if not PROGRAM.is_file():
        return "the measured program, docs/examples/aur.py, is only in the source tree"
    if cell.is_peer:
        return f"the measured program does not support {cell.subject}"
    if cell.device not in {"cpu", "auto"}:
        return "the measured program has no option for the device"
    return "" if database else "the search index could not be created"
