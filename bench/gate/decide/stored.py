"""A baseline that is measured once and compared with later: only on the same machine, with the same versions.

The floor, a process that imports NumPy, is measured in the same rounds as each cell: a machine that behaves differently
today affects both. Limits of the head alone (``ceilings``) are not judged here.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.compare.__main__ import load_comparable, show_comparison, write_comparison
from bench.data.conditions import match_machines
from bench.data.folder import MANIFEST_FILE
from bench.data.manifest import read_manifest
from bench.errors import EXIT_OK
from bench.gate.decide.rules import HEAD, Place
from bench.gate.decide.sequence import FIRST_LOOK
from bench.gate.run import open_session
from bench.plan.cell import COMMAND
from bench.stats.comparison import Criteria, compare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.gate.config import GateConf
    from bench.gate.decide.rules import Rule
    from bench.gate.run import Asked, Session
    from bench.plan.cell import Cell

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
        baseline: folder written by ``store_baseline``, or any run of ``python -m bench``.

    Raises:
        BenchError: see ``bench.gate.run.open_session``; or the baseline cannot be read.
        IncomparableError: the baseline is from another machine, or from other versions.
    """
    base_folder = baseline / HEAD if (baseline / HEAD / MANIFEST_FILE).is_file() else baseline
    base, head_folder = load_comparable(base_folder), asked.output / HEAD
    with open_session(asked, {HEAD: asked.head}, _head_and_floor) as session:
        # Before anything is measured: on another machine, measuring would be useless.
        match_machines(base.manifest, read_manifest(head_folder / MANIFEST_FILE))
        _measure(session)
        criteria = _criteria(session.conf)
    comparison = compare(base, load_comparable(head_folder), criteria)
    files = {"markdown_file": asked.output / "verdict.md", "json_file": asked.output / "verdict.json"}
    write_comparison(comparison, base_folder, head_folder, **files)
    show_comparison(comparison, asked.output / "verdict.md", quiet=asked.quiet)
    return comparison.exit_code


def _measure(session: Session) -> int:
    """Take rounds as long as the budget lasts; return their number."""
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
    """Return the cell that shows how the machine behaves; a command has none, as its environment may lack NumPy."""
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
