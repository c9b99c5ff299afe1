"""How a gate decides: ``conf/gate.yaml`` and its options, typed and checked once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.data.metrics import METRICS_BY_KEY
from bench.errors import ConfigError
from bench.gate.decide.rules import Rule, at_most, no_slower
from bench.gate.decide.sequence import FIRST_LOOK, DecisionSettings
from bench.plan.cell import BASELINE, EMPTY, PEERS
from bench.plan.config import compose, compose_plain
from bench.plan.plan import OF_THE_RUN, cell_of, other_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan.cell import Cell
    from bench.plan.config import BenchConf

COMMAND_OPTION = "gate=command"
"""The option of the group ``gate`` used for a command."""


@dataclass
class GatedConf:
    """How a metric is judged.

    Attributes:
        tolerance: by how much it may grow, as a share; None for the gate's.
        floor: a difference that never matters, in the metric's unit.
    """

    tolerance: float | None = None
    floor: float = 0.0


@dataclass
class CeilingConf:
    """A limit of the head revision by itself.

    Attributes:
        cell: the cell, as options of ``python -m bench``.
        metric: key of a metric.
        at_most: the limit, in its unit, or as a multiple of the same metric of ``times``.
        times: a peer, or ``baseline``; or ``empty_python``, whose whole time every time is a multiple of.
    """

    cell: str = MISSING
    metric: str = MISSING
    at_most: float = MISSING
    times: str | None = None


@dataclass
class GateConf:
    """The whole of ``conf/gate.yaml`` and its options; the comments there explain each value."""

    name: str = MISSING
    cells: list[str] = field(default_factory=list)
    metrics: dict[str, GatedConf] = field(default_factory=dict)
    ceilings: list[CeilingConf] = field(default_factory=list)
    tolerance: float = MISSING
    confidence: float = MISSING
    resolution: float = MISSING
    budget_s: float = MISSING
    max_rounds: int = MISSING
    warmup_rounds: int = MISSING
    sample_timeout_s: float = MISSING
    max_steal: float = MISSING
    max_foreign_cpu: float = MISSING
    extras: list[str] = field(default_factory=list)
    constraints: str | None = None
    pass_variables: list[str] = field(default_factory=list)
    machine_lock: str | None = None
    seed: int = MISSING

    @property
    def settings(self) -> DecisionSettings:
        """How the gate decides."""
        return DecisionSettings(self.confidence, self.resolution, self.budget_s, self.max_rounds)


def load_gate(overrides: Sequence[str], *, is_command: bool = False) -> GateConf:
    """Return the configuration of a gate.

    Args:
        overrides: Hydra overrides such as ``tolerance=0.05`` and ``gate=thorough``.
        is_command: whether a command is measured, and not the loader.

    Raises:
        ConfigError: a value is unknown, of the wrong type or out of range.
    """
    chosen = any(word.startswith("gate=") for word in overrides)
    words = [COMMAND_OPTION, *overrides] if is_command and not chosen else list(overrides)
    composed = compose_plain("gate", words)
    try:
        conf = cast("GateConf", OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(GateConf), composed)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{' '.join(words)}: {error}") from error
    _check(conf)
    return conf


def compose_cell(words: str) -> BenchConf:
    """Return the configuration of a cell that is given as options of ``python -m bench``.

    Raises:
        ConfigError: an option is unknown, or belongs to a whole run.
    """
    try:
        overrides = shlex.split(words)
    except ValueError as error:
        raise ConfigError(f"The cell {words!r} cannot be parsed: {error}") from error
    for word in overrides:
        if word.partition("=")[0].partition(".")[0] in OF_THE_RUN:
            raise ConfigError(f"{word} in the cell {words!r} belongs to a whole run. Leave it out.")
    return compose(overrides)


def make_rules(conf: GateConf, command: Cell | None = None) -> list[Rule]:
    """Return the rules of a gate.

    Args:
        conf: the configuration.
        command: the cell of a command, which is judged in addition to the configured cells.

    Raises:
        ConfigError: there is nothing to judge, or a cell cannot be gated.
    """
    confs = {words: compose_cell(words) for words in [*conf.cells, *(ceiling.cell for ceiling in conf.ceilings)]}
    cells = [cell_of(confs[words]) for words in conf.cells] + ([command] if command is not None else [])
    rules = [
        no_slower(
            cell, METRICS_BY_KEY[key], conf.tolerance if gated.tolerance is None else gated.tolerance, gated.floor
        )
        for cell in dict.fromkeys(cells)
        for key, gated in conf.metrics.items()
    ]
    for ceiling in conf.ceilings:
        other = None if ceiling.times is None else other_cell(confs[ceiling.cell], ceiling.times)
        rules.append(at_most(cell_of(confs[ceiling.cell]), METRICS_BY_KEY[ceiling.metric], ceiling.at_most, other))
    if not rules:
        raise ConfigError("There is nothing to judge. Give cells and metrics, ceilings, or a command.")
    evicting = [rule.cell.label() for rule in rules if rule.cell.cache_state == "cold_disk"]
    if evicting:
        raise ConfigError(
            f"{evicting[0]} cannot be gated: this process computes with NumPy between the rounds, so NumPy's files "
            "cannot be evicted. Use cache_state=cold_weights."
        )
    return rules


def _check(conf: GateConf) -> None:
    for key in [*conf.metrics, *(ceiling.metric for ceiling in conf.ceilings)]:
        if key not in METRICS_BY_KEY:
            raise ConfigError(f"{key} is not a metric; choose from {', '.join(METRICS_BY_KEY)}")
    for ceiling in conf.ceilings:
        if ceiling.times is not None and ceiling.times not in {BASELINE, *PEERS}:
            raise ConfigError(f"ceilings: times={ceiling.times} must be {BASELINE} or one of {', '.join(PEERS)}")
        if ceiling.times == EMPTY and METRICS_BY_KEY[ceiling.metric].unit != "ms":
            raise ConfigError(
                f"ceilings: {ceiling.metric} cannot be a multiple of {EMPTY}, of which only the time is known. Use "
                f"times={BASELINE}, times=import_numpy, or none"
            )
        if not ceiling.at_most > 0:
            raise ConfigError(f"ceilings: at_most={ceiling.at_most} must be above 0")
    rules = {
        "tolerance": (conf.tolerance, conf.tolerance >= 0, "at least 0"),
        "confidence": (conf.confidence, 0.5 <= conf.confidence < 1, "at least 0.5 and below 1"),
        "resolution": (conf.resolution, conf.resolution > 0, "above 0"),
        "budget_s": (conf.budget_s, conf.budget_s > 0, "above 0"),
        "max_rounds": (conf.max_rounds, conf.max_rounds >= FIRST_LOOK, f"at least {FIRST_LOOK}"),
        "warmup_rounds": (conf.warmup_rounds, conf.warmup_rounds >= 1, "at least 1"),
        "sample_timeout_s": (conf.sample_timeout_s, conf.sample_timeout_s > 0, "above 0"),
        "max_steal": (conf.max_steal, conf.max_steal >= 0, "at least 0"),
        "max_foreign_cpu": (conf.max_foreign_cpu, conf.max_foreign_cpu >= 0, "at least 0"),
    }
    for key, gated in conf.metrics.items():
        wanted = "a tolerance of null or at least 0, and a floor of at least 0"
        rules[f"metrics.{key}"] = (0.0, gated.floor >= 0 and (gated.tolerance is None or gated.tolerance >= 0), wanted)
    for key, (value, holds, wanted) in rules.items():
        if not holds:
            raise ConfigError(f"{key}={value} must be {wanted}" if value else f"{key} must be {wanted}")
