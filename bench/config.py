"""The configuration, typed: what ``conf/`` may say, checked once and without side effects.

Nothing assigns to a configuration once it is made. The classes are not frozen because OmegaConf could not fill them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import ConfigError
from bench.plan import PEERS

if TYPE_CHECKING:
    from omegaconf import DictConfig


QUALITY = "quality"
SUITES = ("none", QUALITY)
"""What a run measures: the cost of start-up and memory, or the quality of the vectors."""

MIN_DOCUMENTS = 20
"""Fewest documents of a retrieval task."""


@dataclass
class NamedConf:
    """An option that is only a name."""

    name: str = MISSING


@dataclass
class ModelConf:
    """A model: its short key for tables, and the name that every subject is given."""

    key: str = MISSING
    name: str = MISSING


@dataclass
class ProtocolConf:
    """How often to measure.

    Attributes:
        name: the option's name.
        warmup_rounds: rounds that are recorded but not counted.
        rounds: rounds that count, if the budget allows.
        budget_s: no new round begins after this many seconds, once ``MIN_ROUNDS`` are done.
        sample_timeout_s: a process that takes longer is killed and recorded as a timeout.
    """

    name: str = MISSING
    warmup_rounds: int = MISSING
    rounds: int = MISSING
    budget_s: float = MISSING
    sample_timeout_s: float = MISSING


@dataclass
class QualityConf:
    """What ``suite=quality`` compares, see ``bench.quality``.

    Attributes:
        max_documents: documents of the retrieval task.
        sts_file: an STS benchmark file, or None.
        cell_timeout_s: a process that takes longer is killed and recorded as a timeout.
    """

    max_documents: int = MISSING
    sts_file: str | None = MISSING
    cell_timeout_s: float = MISSING


@dataclass
class BenchConf:
    """Everything one job of ``python -m bench`` says."""

    strategy: NamedConf = field(default_factory=NamedConf)
    engine: NamedConf = field(default_factory=NamedConf)
    model: ModelConf = field(default_factory=ModelConf)
    device: NamedConf = field(default_factory=NamedConf)
    scenario: NamedConf = field(default_factory=NamedConf)
    protocol: ProtocolConf = field(default_factory=ProtocolConf)
    suite: NamedConf = field(default_factory=NamedConf)
    quality: QualityConf | None = None
    baseline: bool = MISSING
    peers: list[str] = field(default_factory=list)
    threads: int | None = None
    seed: int = MISSING
    quiet: bool = MISSING
    reports_dir: str = MISSING
    run_name: str = MISSING


def from_hydra(config: DictConfig) -> BenchConf:
    """Return the typed configuration.

    Raises:
        ConfigError: a value is missing, unknown, of the wrong type or out of range.
    """
    plain = OmegaConf.create({str(key): value for key, value in config.items_ex(resolve=False) if key != "hydra"})
    try:
        merged = OmegaConf.merge(OmegaConf.structured(BenchConf), plain)
        conf = cast("BenchConf", OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', '') or 'configuration'}: {error}") from error
    _check_suite(conf)
    _check_peers(conf)
    _check_ranges(conf)
    return conf


def to_plain(conf: BenchConf) -> dict[str, Any]:
    """Return the configuration as dictionaries, for the manifest."""
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.structured(conf)))


def _check_suite(conf: BenchConf) -> None:
    if conf.suite.name not in SUITES:
        raise ConfigError(f"suite.name={conf.suite.name} must be one of {', '.join(SUITES)}")
    if (conf.quality is not None) != (conf.suite.name == QUALITY):
        raise ConfigError(f"quality.* belongs to suite={QUALITY}: give both or neither")
    if conf.quality is not None and not conf.baseline:
        raise ConfigError(f"baseline=false cannot be: suite={QUALITY} compares with the reference")


def _check_peers(conf: BenchConf) -> None:
    unknown = sorted(set(conf.peers) - set(PEERS))
    if unknown:
        raise ConfigError(f"peers has {', '.join(unknown)}; known are {', '.join(PEERS)}")


def _check_ranges(conf: BenchConf) -> None:
    protocol, quality = conf.protocol, conf.quality
    rules = {
        "protocol.rounds": (protocol.rounds, protocol.rounds >= 1, "at least 1"),
        "protocol.warmup_rounds": (protocol.warmup_rounds, protocol.warmup_rounds >= 0, "at least 0"),
        "protocol.budget_s": (protocol.budget_s, protocol.budget_s > 0, "above 0"),
        "protocol.sample_timeout_s": (protocol.sample_timeout_s, protocol.sample_timeout_s > 0, "above 0"),
        "threads": (conf.threads, conf.threads is None or conf.threads >= 1, "at least 1, or null"),
        "run_name": (conf.run_name, bool(conf.run_name) and conf.run_name not in {".", ".."}, "a folder's name"),
    }
    if quality is not None:
        rules |= {
            "quality.max_documents": (
                quality.max_documents,
                quality.max_documents >= MIN_DOCUMENTS,
                f"at least {MIN_DOCUMENTS}: the ten best of fewer are no choice",
            ),
            "quality.cell_timeout_s": (quality.cell_timeout_s, quality.cell_timeout_s > 0, "above 0"),
        }
    for key, (value, holds, wanted) in rules.items():
        if not holds:
            raise ConfigError(f"{key}={value} must be {wanted}")
