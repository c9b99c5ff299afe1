"""A cell: one measured configuration. Everything here is a plain value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

BASELINE = "baseline"
"""Name of the reference, plain sentence-transformers, in place of a strategy."""

EMPTY = "empty_python"
"""Subject of a cell that measures an empty Python program, ``python -c pass``: the floor of every Python program."""

PEERS = ("fastembed", "openvino", "model2vec", "import_numpy", EMPTY)
"""What can be measured beside ours: subjects, by their modules' names in ``bench.subjects``, and an empty program."""

SCENARIOS = ("idle", "at_once", "think_time", "search_command", "concurrent")
"""What a measured process does: the first three are in ``bench.measure.worker``, the others in modules that
``bench.measure.sampler`` calls."""

COMMAND = "command"
"""Subject and scenario of a cell that measures a user's command; the command takes the place of a strategy."""

THINK_KINDS = ("sleep", "compute")

SPECIFICATION = "specification"
"""The suite that repeats the specification's tables."""

FULL = "full"
"""The suite that measures everything."""

WARM = "warm"
"""The cache state that changes nothing."""

CACHE_STATES = (WARM, "cold_weights", "cold_disk", "cold_bytecode", "no_artifact")
"""What the caches can hold when a sample begins; ``bench.measure.cache.states`` arranges each."""

INSTRUMENTS = ("importtime", "memory", "memray")
"""What can watch a process in a separate pass."""

SERVICE = "service"
SERVICE_COLD = "service_cold"
MEANINGS = {
    SERVICE: "a service that keeps the model loaded answers, as for every call but the first. It is started before the "
    "sample, and its memory is additional",
    SERVICE_COLD: "the first call: no service is running; the process computes the vector itself, then starts a "
    "service for the next caller",
}
"""The two strategies in words. Neither is a candidate for recommendations: no column has the service's own memory."""
ANSWERED_BY = {SERVICE: "service", SERVICE_COLD: "process"}
"""Who has to compute for the sample to belong to its cell."""


@dataclass(frozen=True, order=True)
class Cell:
    """One measured configuration.

    Attributes:
        subject: a module of ``bench.subjects``.
        strategy: the loader's strategy, or BASELINE, or the name of a peer.
        engine: the requested engine; "" if the subject has none.
        model_key: short name for tables.
        model: the name that the subject is given.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``.
        scenario: what the process does.
        threads: threads for one run of the model, None for the library's default.
        think_s: seconds of other work before the first request; 0 if the scenario has none.
        think_kind: ``"sleep"`` or ``"compute"``, "" if the scenario has none.
        processes: how many run at the same time.
        cache_state: state of the caches before the process began, see ``bench.measure.cache.states``.
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
        """Whether one process of ``bench.measure.worker`` takes the sample, not a program or several processes."""
        return self.scenario not in {"search_command", "concurrent"} and self.subject != EMPTY

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
        """Return a short, unique name, such as ``progressive/auto/minilm/cpu/idle``; for a command, its words."""
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
    """Return the cell for the result of ``Cell.to_json``, of this or an earlier version.

    Raises:
        TypeError: these are not the fields of a cell.
    """
    cell = Cell(**fields)
    texts = ("subject", "strategy", "engine", "model_key", "model", "device", "scenario", "think_kind", "cache_state")
    counts = (cell.processes,) if cell.threads is None else (cell.processes, cell.threads)
    if (
        not all(isinstance(getattr(cell, name), str) for name in texts)
        or not all(type(count) is int and 0 < count < 2**31 for count in counts)
        or type(cell.think_s) not in {int, float}
    ):
        raise TypeError(f"a field of the cell has the wrong type: {dict(fields)}")
    return replace(cell, scenario="idle") if cell.scenario == "ready" else cell  # its name before schema 2


def as_watched(cell: Cell) -> Cell:
    """Return the cell without the settings that do not affect imports, memory and allocations."""
    return replace(cell, scenario="idle", think_s=0.0, think_kind="", cache_state=WARM)


def strategy_of(cell: Cell) -> str:
    """Return the loader's name of a cell's strategy."""
    return SERVICE if cell.strategy == SERVICE_COLD else cell.strategy
