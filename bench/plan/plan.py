"""From configurations to a plan: which cells, how often, in which order."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.plan.cell import BASELINE, Cell, as_watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.plan.config import BenchConf, ProtocolConf

OF_THE_RUN = (
    "suite",
    "quality",
    "peers",
    "protocol",
    "precision",
    "pass_variables",
    "seed",
    "quiet",
    "reports_dir",
    "run_name",
    "baseline",
    "resume",
    "machine_lock",
    "static_model",
)
"""Settings that belong to a whole run and cannot be swept."""

MIN_ROUNDS = 3
"""Rounds that are measured even if they exceed the budget: fewer show no spread."""


@dataclass(frozen=True)
class Slot:
    """One sample to take: a cell in a round.

    Attributes:
        cell: what to measure.
        round: number of the round, from 0.
        is_warmup: whether the sample is kept but not counted.
        attempt: 1 for the second attempt at a sample that other work disturbed, otherwise 0.
        instrument: what watches the process: "" for nothing, the only kind with meaningful times, or one of
            ``INSTRUMENTS``.
    """

    cell: Cell
    round: int
    is_warmup: bool
    attempt: int = 0
    instrument: str = ""


@dataclass(frozen=True)
class Plan:
    """All cells of a run and the protocol they share."""

    cells: tuple[Cell, ...]
    protocol: ProtocolConf
    seed: int
    precision: float | None = None

    def rounds(self) -> Iterator[list[Slot]]:
        """Yield the rounds: every cell once, in an order that is random but repeatable.

        In the first round, the references come first, because every vector is compared with theirs.
        """
        order = random.Random(self.seed)  # noqa: S311 - repeatability is the point
        warmups = self.protocol.warmup_rounds
        for number in range(warmups + self.protocol.rounds):
            cells = list(self.cells)
            order.shuffle(cells)
            if number == 0:
                cells.sort(key=lambda cell: not cell.is_baseline)
            yield [Slot(cell, number, number < warmups) for cell in cells]

    def passes(self) -> list[Slot]:
        """Return the watched samples: one for each cell and instrument, after the timed ones."""
        return [
            Slot(cell, 0, is_warmup=False, instrument=instrument)
            for instrument in self.protocol.passes
            for cell in dict.fromkeys(as_watched(cell) for cell in self.cells if cell.is_worker)
        ]

    @property
    def sample_count(self) -> int:
        """The number of samples if the budget does not end the run early and nothing is measured twice."""
        return len(self.cells) * (self.protocol.warmup_rounds + self.protocol.rounds) + len(self.passes())


def make_plan(configs: Sequence[BenchConf]) -> Plan:
    """Return the plan for the jobs of a sweep (or the single one of a run).

    Raises:
        ConfigError: the jobs differ in what belongs to the run as a whole.
    """
    first = configs[0]
    for conf in configs:
        for name in OF_THE_RUN:
            if getattr(conf, name) != getattr(first, name):
                raise ConfigError(f"{name} cannot be swept: it belongs to the whole run. Start one run for each value.")
    wanted = [cell_of(conf) for conf in configs]
    references = [other_cell(conf, BASELINE) for conf in configs] if first.baseline else []
    peers = [other_cell(conf, name) for conf in _with_peers(configs) for name in conf.peers]
    return Plan(tuple(dict.fromkeys([*references, *peers, *wanted])), first.protocol, first.seed, first.precision)


def _with_peers(configs: Sequence[BenchConf]) -> list[BenchConf]:
    """Return the jobs that include peers: the search program supports none, and one row is enough to show that."""
    fitting = [conf for conf in configs if conf.scenario.name != "search_command"]
    return fitting or list(configs)


def cell_of(conf: BenchConf) -> Cell:
    """Return the cell of our loader that a configuration describes."""
    scenario = conf.scenario
    return Cell(
        subject="embedding_loader",
        strategy=conf.strategy.name,
        engine=conf.engine.name,
        model_key=conf.model.key,
        model=conf.model.name,
        device=conf.device.name,
        scenario=scenario.name,
        threads=conf.threads,
        think_s=scenario.think_s,
        think_kind=scenario.kind,
        processes=scenario.processes,
        cache_state=conf.cache_state.name,
    )


def other_cell(conf: BenchConf, name: str) -> Cell:
    """Return the same cell of the reference (``BASELINE``) or of a peer, which have neither strategies nor engines."""
    subject = "sentence_transformers" if name == BASELINE else name
    return replace(cell_of(conf), subject=subject, strategy=name, engine="")
