"""From configurations to a plan: which cells, how often, in which order."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from bench.config import BenchConf, ProtocolConf

BASELINE = "baseline"
"""Name of the reference: plain sentence-transformers, in the place of a strategy."""

PEERS = ("fastembed", "openvino", "model2vec", "import_numpy")
"""Subjects that can be measured beside ours, by their modules' names in ``bench.subjects``."""

SCENARIOS = ("idle", "at_once", "think_time", "search_command", "concurrent")
"""What a measured process does: the first three in ``bench.worker``, the others have modules that ``bench.sampler``
calls."""

COMMAND = "command"
"""Subject and scenario of a cell that is a command of the user's, which stands in the place of a strategy."""

THINK_KINDS = ("sleep", "compute")

SPECIFICATION = "specification"
"""The suite that repeats the specification's tables."""

FULL = "full"
"""The suite that measures everything."""

WARM = "warm"
"""The cache state in which nothing is changed."""

INSTRUMENTS = ("importtime", "memory", "memray")
"""What can watch a process in a pass of its own."""

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
        think_s: seconds of other work before the first request; 0 where the scenario has none.
        think_kind: ``"sleep"`` or ``"compute"``, "" where the scenario has none.
        processes: how many run at the same time.
        cache_state: what was in which cache before the process began, see ``bench.cachestate``.
    """

    subject: str
    strategy: str
    engine: str
    model_key: str
    model: str
    device: str
    scenario: str
    threads: int | None
    think_s: float = 0.0
    think_kind: str = ""
    processes: int = 1
    cache_state: str = "warm"

    @property
    def is_baseline(self) -> bool:
        """Whether this is the reference."""
        return self.strategy == BASELINE

    @property
    def is_worker(self) -> bool:
        """Whether one process of ``bench.worker`` takes the sample, and not a program or several processes."""
        return self.scenario not in {"search_command", "concurrent"}

    @property
    def is_peer(self) -> bool:
        """Whether this is neither ours nor the reference."""
        return self.subject in PEERS

    @property
    def reference(self) -> Hashable:
        """What a cell has in common with its reference."""
        return replace(self, subject="", strategy="", engine="")

    @property
    def scenario_label(self) -> str:
        """The scenario with its settings, such as ``think_time 2 s compute``."""
        details = [f"{self.think_s:g} s {self.think_kind}"] if self.think_kind else []
        details += [f"{self.processes} processes"] if self.processes > 1 else []
        return " ".join([self.scenario, *details])

    def label(self) -> str:
        """Return a short, unique name, such as ``progressive/auto/minilm/cpu/idle``; of a command, its words."""
        if self.subject == self.scenario == COMMAND:
            return self.strategy
        parts = [self.strategy, self.engine, self.model_key, self.device, self.scenario_label]
        if self.cache_state != WARM:
            parts.append(self.cache_state)
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return "/".join(part for part in parts if part)

    def to_json(self) -> dict[str, object]:
        """Return the fields."""
        return asdict(self)


def cell_from_json(fields: Mapping[str, Any]) -> Cell:
    """Return the cell of what ``Cell.to_json`` returned, now or in an earlier version.

    Raises:
        TypeError: these are not the fields of a cell.
    """
    cell = Cell(**fields)
    return replace(cell, scenario="idle") if cell.scenario == "ready" else cell  # its name before records had schema 2


@dataclass(frozen=True)
class Slot:
    """One sample to take: a cell in a round.

    Attributes:
        cell: what to measure.
        round: number of the round, from 0.
        is_warmup: whether the sample is kept but not counted.
        attempt: 1 for the second try of a sample that something else on the machine disturbed, otherwise 0.
        instrument: what watches the process: "" for nothing, the only kind whose times mean anything; else one of
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

    def passes(self) -> list[Slot]:
        """Return the samples that something watches: one for each cell and instrument, after the timed ones."""
        return [
            Slot(cell, 0, is_warmup=False, instrument=instrument)
            for instrument in self.protocol.passes
            for cell in dict.fromkeys(as_watched(cell) for cell in self.cells if cell.is_worker)
        ]

    @property
    def sample_count(self) -> int:
        """How many samples there are if no budget ends the run early and nothing is measured twice."""
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
    """Return the jobs that peers take part in: the program that searches knows none, which one row is enough to say."""
    fitting = [conf for conf in configs if conf.scenario.name != "search_command"]
    return fitting or list(configs)


def as_watched(cell: Cell) -> Cell:
    """Return the cell without what makes no difference to imports, memory and allocations."""
    return replace(cell, scenario="idle", think_s=0.0, think_kind="", cache_state=WARM)


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
