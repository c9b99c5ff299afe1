"""The typed configuration: what ``conf/`` may contain, checked once and without side effects.

Nothing assigns to a configuration once it is made. The classes are not frozen because OmegaConf could not fill them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import ConfigError
from bench.plan.cell import CACHE_STATES, FULL, INSTRUMENTS, PEERS, SCENARIOS, SPECIFICATION, THINK_KINDS
from bench.plan.places import CONF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


QUALITY = "quality"
SUITES = ("none", SPECIFICATION, FULL, "strategies", "engines", "peers", "models", "devices", "waiting", QUALITY)
"""What a run measures: ``quality`` the vectors, all others the costs; all but ``none`` are predefined sweeps."""

MIN_DOCUMENTS = 20
"""Fewest documents of a retrieval task."""


@dataclass
class NamedConf:
    """An option that has only a name."""

    name: str = MISSING


@dataclass
class ModelConf:
    """A model: its short key for tables, and the name that every subject is given."""

    key: str = MISSING
    name: str = MISSING


@dataclass
class ScenarioConf:
    """What a process does.

    Attributes:
        name: one of ``SCENARIOS``.
        think_s: seconds of other work between starting the loader and the first request.
        kind: the kind of that work, ``sleep`` or ``compute``.
        processes: how many processes use the model at the same time.
    """

    name: str = MISSING
    think_s: float = 0.0
    kind: str = ""
    processes: int = 1


@dataclass
class ProtocolConf:
    """How often to measure.

    Attributes:
        name: the option's name.
        warmup_rounds: rounds that are recorded but not counted.
        rounds: rounds that count, if the budget allows.
        budget_s: no new round begins after this many seconds, once ``MIN_ROUNDS`` are done.
        sample_timeout_s: a process that takes longer is killed and recorded as a timeout.
        passes: what watches one more sample of each cell afterwards: ``importtime``, ``memory``, ``memray``.
        max_steal: share of the processors that other machines may take during a sample.
        max_foreign_cpu: share of the processors that other processes may take during a sample.
        max_reruns: samples that may be taken again because they were disturbed, as a share of all.
    """

    name: str = MISSING
    warmup_rounds: int = MISSING
    rounds: int = MISSING
    budget_s: float = MISSING
    sample_timeout_s: float = MISSING
    passes: list[str] = field(default_factory=list)
    max_steal: float = MISSING
    max_foreign_cpu: float = MISSING
    max_reruns: float = MISSING


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
    """The whole configuration of one job of ``python -m bench``."""

    strategy: NamedConf = field(default_factory=NamedConf)
    engine: NamedConf = field(default_factory=NamedConf)
    model: ModelConf = field(default_factory=ModelConf)
    device: NamedConf = field(default_factory=NamedConf)
    scenario: ScenarioConf = field(default_factory=ScenarioConf)
    cache_state: NamedConf = field(default_factory=NamedConf)
    protocol: ProtocolConf = field(default_factory=ProtocolConf)
    suite: NamedConf = field(default_factory=NamedConf)
    quality: QualityConf | None = None
    baseline: bool = MISSING
    peers: list[str] = field(default_factory=list)
    static_model: str | None = None
    threads: int | None = None
    precision: float | None = None
    pass_variables: list[str] = field(default_factory=list)
    machine_lock: str | None = None
    resume: str | None = None
    seed: int = MISSING
    quiet: bool = MISSING
    reports_dir: str = MISSING
    run_name: str = MISSING


def compose(words: Sequence[str]) -> BenchConf:
    """Return the typed configuration that ``python -m bench`` would have with these words, for one job.

    Raises:
        ConfigError: the words are not a valid configuration.
    """
    return from_hydra(compose_plain("config", words))


def compose_plain(name: str, words: Sequence[str]) -> DictConfig:
    """Return what Hydra composes from a main configuration in ``conf`` and these words.

    Raises:
        ConfigError: the words are not a valid configuration.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    # A process can use Hydra only once at a time, and another caller in this process may be using it.
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return hydra.compose(name, overrides=list(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(words)} is not a valid configuration: {error}") from error
    finally:
        if theirs is not None:
            GlobalHydra.instance().initialize(theirs)


def from_hydra(config: DictConfig) -> BenchConf:
    """Return the typed configuration.

    Raises:
        ConfigError: a value is missing, unknown, of the wrong type or out of range.
    """
    plain = OmegaConf.create({str(key): value for key, value in config.items_ex(resolve=False) if key != "hydra"})
    # The cache remembers 'now': all jobs of a sweep get the same run_name, however long composing takes.
    OmegaConf.copy_cache(from_config=config, to_config=plain)
    return from_plain(plain)


def from_plain(plain: Mapping[str, Any] | DictConfig) -> BenchConf:
    """Return the typed configuration of what ``to_plain`` returned.

    Raises:
        ConfigError: a value is missing, unknown, of the wrong type or out of range.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(BenchConf), plain)
        if isinstance(plain, DictConfig):
            OmegaConf.copy_cache(from_config=plain, to_config=merged)
        conf = cast("BenchConf", OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', '') or 'configuration'}: {error}") from error
    _check_suite(conf)
    _check_names(conf)
    _check_ranges(conf)
    return conf


def to_plain(conf: BenchConf) -> dict[str, Any]:
    """Return the configuration as dictionaries, for the manifest."""
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.structured(conf)))


def _check_suite(conf: BenchConf) -> None:
    if conf.suite.name not in SUITES:
        raise ConfigError(f"suite.name={conf.suite.name} must be one of {', '.join(SUITES)}")
    if (conf.quality is not None) != (conf.suite.name == QUALITY):
        raise ConfigError(f"quality.* and suite={QUALITY} need each other: give both or neither")
    if conf.quality is not None and not conf.baseline:
        raise ConfigError(f"baseline=false is invalid: suite={QUALITY} compares with the reference")


def _check_names(conf: BenchConf) -> None:
    thinks = conf.scenario.name == "think_time"
    for key, names, known in (
        ("peers", conf.peers, PEERS),
        ("protocol.passes", conf.protocol.passes, INSTRUMENTS),
        ("scenario.name", [conf.scenario.name], SCENARIOS),
        ("scenario.kind", [conf.scenario.kind], THINK_KINDS if thinks else ("",)),
        ("cache_state.name", [conf.cache_state.name], CACHE_STATES),
    ):
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ConfigError(f"{key}={', '.join(unknown)} must be one of {', '.join(known)}")


def _check_ranges(conf: BenchConf) -> None:
    protocol, quality, scenario = conf.protocol, conf.quality, conf.scenario
    thinks, concurrent = scenario.name == "think_time", scenario.name == "concurrent"
    rules = {
        "scenario.think_s": (scenario.think_s, (scenario.think_s > 0) == thinks, "above 0 for think_time, else 0"),
        "scenario.processes": (
            scenario.processes,
            scenario.processes >= 2 if concurrent else scenario.processes == 1,
            "at least 2 for concurrent, else 1",
        ),
        "precision": (conf.precision, conf.precision is None or 0 < conf.precision < 1, "between 0 and 1, or null"),
        "protocol.max_steal": (protocol.max_steal, protocol.max_steal >= 0, "at least 0"),
        "protocol.max_foreign_cpu": (protocol.max_foreign_cpu, protocol.max_foreign_cpu >= 0, "at least 0"),
        "protocol.max_reruns": (protocol.max_reruns, protocol.max_reruns >= 0, "at least 0"),
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
                f"at least {MIN_DOCUMENTS}: with fewer, the ten best mean little",
            ),
            "quality.cell_timeout_s": (quality.cell_timeout_s, quality.cell_timeout_s > 0, "above 0"),
        }
    for key, (value, holds, wanted) in rules.items():
        if not holds:
            raise ConfigError(f"{key}={value} must be {wanted}")
