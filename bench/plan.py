"""From configurations to a plan: which cells, how often, in which order."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.config import BenchConf, ProtocolConf

BASELINE = "baseline"
"""Name of the reference: plain sentence-transformers, in the place of a strategy."""

PEERS = ("fastembed", "import_numpy")
"""Subjects that can be measured beside ours, by their modules' names in ``bench.subjects``."""

MIN_ROUNDS = 3
"""Rounds that are measured even if they exceed the budget: fewer have no spread to show."""


@dataclass(frozen=True, order=True)
class Cell:
    """One measured configuration.

    Attributes:
        subject: a module of ``bench.subjects``.
        strategy: the loader's strategy, or BASELINE, or the name of a peer.
        engine: the engine that was asked for; "" where the subject has none.
        model_key: short name for tables.
        model: the name that the subject is given.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``.
        scenario: what the process does.
        threads: threads for one run of the model, None for the library's default.
    """

    subject: str
    strategy: str
    engine: str
    model_key: str
    model: str
    device: str
    scenario: str
    threads: int | None

    @property
    def is_baseline(self) -> bool:
        """Whether this is the reference."""
        return self.strategy == BASELINE

    @property
    def is_peer(self) -> bool:
        """Whether this is neither ours nor the reference."""
        return self.subject in PEERS

    @property
    def reference(self) -> tuple[str, str, str, int | None]:
        """What a cell has in common with its reference."""
        return (self.model, self.device, self.scenario, self.threads)

    def label(self) -> str:
        """Return a short, unique name, such as ``progressive/auto/minilm/cpu``."""
        parts = [self.strategy, self.engine, self.model_key, self.device, self.scenario]
        if self.threads is not None:
            parts.append(f"{self.threads} threads")
        return "/".join(part for part in parts if part)

    def to_json(self) -> dict[str, object]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Slot:
    """One sample to take: a cell in a round."""

    cell: Cell
    round: int
    is_warmup: bool


@dataclass(frozen=True)
class Plan:
    """All cells of a run and the protocol they share."""

    cells: tuple[Cell, ...]
    protocol: ProtocolConf
    seed: int

    def rounds(self) -> Iterator[list[Slot]]:
        """Yield the rounds: every cell once, in an order that is random but repeatable.

        In the first round the references come first: every vector is compared with theirs.
        """
        order = random.Random(self.seed)  # noqa: S311 - repeatability is the point
        warmups = self.protocol.warmup_rounds
        for number in range(warmups + self.protocol.rounds):
            cells = list(self.cells)
            order.shuffle(cells)
            if number == 0:
                cells.sort(key=lambda cell: not cell.is_baseline)
            yield [Slot(cell, number, number < warmups) for cell in cells]

    @property
    def sample_count(self) -> int:
        """How many samples there are if no budget ends the run early."""
        return len(self.cells) * (self.protocol.warmup_rounds + self.protocol.rounds)


def make_plan(configs: Sequence[BenchConf]) -> Plan:
    """Return the plan for the jobs of a sweep (or the single one of a run).

    Raises:
        ConfigError: the jobs differ in what belongs to the run as a whole.
    """
    first = configs[0]
    for conf in configs:
        for name in ("suite", "quality", "peers", "protocol", "seed", "quiet", "reports_dir", "run_name", "baseline"):
            if getattr(conf, name) != getattr(first, name):
                raise ConfigError(f"{name} cannot be swept: it belongs to the whole run. Start one run for each value.")
    wanted = [_cell(conf) for conf in configs]
    references = [_other(conf, "sentence_transformers", BASELINE) for conf in configs] if first.baseline else []
    peers = [_other(conf, name, name) for conf in configs for name in conf.peers]
    return Plan(tuple(dict.fromkeys([*references, *peers, *wanted])), first.protocol, first.seed)


def _cell(conf: BenchConf) -> Cell:
    return Cell(
        subject="embedding_loader",
        strategy=conf.strategy.name,
        engine=conf.engine.name,
        model_key=conf.model.key,
        model=conf.model.name,
        device=conf.device.name,
        scenario=conf.scenario.name,
        threads=conf.threads,
    )


def _other(conf: BenchConf, subject: str, name: str) -> Cell:
    """Return the cell of a subject that has neither strategies nor engines."""
    return Cell(
        subject=subject,
        strategy=name,
        engine="",
        model_key=conf.model.key,
        model=conf.model.name,
        device=conf.device.name,
        scenario=conf.scenario.name,
        threads=conf.threads,
    )
