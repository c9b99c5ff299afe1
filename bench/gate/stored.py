"""A baseline that is measured once and compared with later: only on the same machine, with the same versions.

Beside each cell, the floor is measured in the same rounds, a process that imports NumPy: what the machine does
differently today, it does to both. Limits of the head by itself (``ceilings``) are not judged here.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.compare import read_run, show_comparison, write_comparison
from bench.comparison import Criteria, compare
from bench.conditions import IncomparableError, match_machines
from bench.environment import read_manifest
from bench.errors import EXIT_INCOMPARABLE, EXIT_OK
from bench.gate.rules import HEAD, Place
from bench.gate.run import open_session
from bench.gate.sequence import FIRST_LOOK
from bench.plan import COMMAND
from bench.run import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.gate.config import GateConf
    from bench.gate.rules import Rule
    from bench.gate.run import Asked, Session
    from bench.plan import Cell

FLOOR = "import_numpy"


def store_baseline(asked: Asked) -> int:
    """Measure ``asked.head`` alone, keep it in ``asked.output``, return the exit code.

    Raises:
        BenchError: see ``bench.gate.run.open_session``.
    """
    with open_session(asked, {HEAD: asked.head}, _head_and_floor) as session:
        rounds = _measure(session)
    sys.stdout.write(f"Baseline of {rounds} rounds: {asked.output}\n")
    return EXIT_OK


def compare_with_baseline(asked: Asked, baseline: Path) -> int:
    """Measure ``asked.head``, compare it with a baseline, write and show the comparison, return the exit code.

    Args:
        asked: the command line.
        baseline: made by ``store_baseline``, or any run of ``python -m bench``.

    Raises:
        BenchError: see ``bench.gate.run.open_session``; or the baseline cannot be read, or lacks a cell.
    """
    base_folder = baseline / HEAD if (baseline / HEAD / MANIFEST_FILE).is_file() else baseline
    base, head_folder = read_run(base_folder), asked.output / HEAD
    try:
        with open_session(asked, {HEAD: asked.head}, _head_and_floor) as session:
            # Before anything is measured: on another machine it would be in vain.
            match_machines(base.manifest, read_manifest(head_folder / MANIFEST_FILE))
            _measure(session)
            criteria = _criteria(session.conf)
        comparison = compare(base, read_run(head_folder), criteria)
    except IncomparableError as error:
        sys.stderr.write(f"incomparable: {error}\n")
        return EXIT_INCOMPARABLE
    files = {"markdown_file": asked.output / "verdict.md", "json_file": asked.output / "verdict.json"}
    write_comparison(comparison, base_folder, head_folder, **files)
    show_comparison(comparison, asked.output / "verdict.md", quiet=asked.quiet)
    return comparison.exit_code


def _measure(session: Session) -> int:
    """Take rounds as long as the budget lasts; return how many."""
    conf, measurer = session.conf, session.measurer
    measurer.warm_up(session.blocks, conf.warmup_rounds)
    rounds, begun = 0, time.monotonic()
    while rounds < FIRST_LOOK or (rounds < conf.max_rounds and time.monotonic() - begun < conf.budget_s):
        measurer.take(session.blocks, 1)
        rounds += 1
    return rounds


def _head_and_floor(rules: Sequence[Rule]) -> list[tuple[Place, ...]]:
    cells = dict.fromkeys(rule.cell for rule in rules if rule.is_regression)
    return [tuple(Place(HEAD, each) for each in (cell, *_floor(cell))) for cell in cells]


def _floor(cell: Cell) -> tuple[Cell, ...]:
    """Return the cell that tells what the machine does; a command has none, its environment may lack NumPy."""
    return () if cell.subject == COMMAND else (replace(cell, subject=FLOOR, strategy=FLOOR, engine=""),)


def _criteria(conf: GateConf) -> Criteria:
    return Criteria(
        metrics=tuple(conf.metrics),
        tolerance=conf.tolerance,
        tolerances={key: gated.tolerance for key, gated in conf.metrics.items() if gated.tolerance is not None},
        floors={key: gated.floor for key, gated in conf.metrics.items()},
        confidence=conf.confidence,
        resolution=conf.resolution,
    )
