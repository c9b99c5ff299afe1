"""Which runs may be compared: those from the same machine that differ in nothing but this project's version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.environment import PROJECT
from bench.data.manifest_parts import Protocol
from bench.errors import IncomparableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.data.environment import Environment
    from bench.data.manifest import Manifest


@dataclass(frozen=True)
class Machines:
    """The machines of two runs.

    Attributes:
        both: the machines that both have: fingerprint in base to fingerprint in head.
        alone: a sentence for each machine that only one run has.
    """

    both: Mapping[str, str]
    alone: tuple[str, ...]


def match_machines(base: Manifest, head: Manifest) -> Machines:
    """Match the machines of one run to those of the other.

    Args:
        base: the base run's manifest.
        head: the head run's manifest.

    Raises:
        IncomparableError: they share no machine, or were not measured alike on one that they share.
    """
    mine, theirs = _by_comparable(base), _by_comparable(head)
    both = {mine[key]: theirs[key] for key in mine if key in theirs}
    if not both:
        raise IncomparableError(
            f"The runs were not measured alike: {_nearest(base, head)}. Measure both on the same machine, with the "
            "same versions of everything except this project."
        )
    for one, other in both.items():
        differing = _differing(_conditions(base, one), _conditions(head, other))
        if differing:
            raise IncomparableError(
                f"The runs were not measured alike: {', '.join(differing)}. Measure one of them again."
            )
    alone = [
        f"{_describe(run.environments[machine])} is only in the {name} run"
        for name, run, found, others in (("base", base, mine, theirs), ("head", head, theirs, mine))
        for key, machine in found.items()
        if key not in others
    ]
    return Machines(both, tuple(alone))


def sample_limits(protocol: Protocol | None) -> dict[str, object]:
    """Return, by a descriptive name, what decides whether a sample counts; more rounds only mean more samples."""
    found = protocol or Protocol()
    return {
        "protocol.sample_timeout_s": found.sample_timeout_s,
        "protocol.max_steal": found.max_steal,
        "protocol.max_foreign_cpu": found.max_foreign_cpu,
    }


def conditions(run: Manifest) -> dict[str, object]:
    """Return, by a descriptive name, what affects the samples of a single run besides its machine and versions."""
    return sample_limits(run.protocol) | {f"the variable {name}": value for name, value in run.variables.items()}


def _by_comparable(manifest: Manifest) -> dict[str, str]:
    """Return a run's fingerprints, keyed by the part that does not depend on this project's version."""
    found: dict[str, str] = {}
    for machine, environment in manifest.environments.items():
        if found.setdefault(environment.comparable, machine) != machine:
            raise IncomparableError(
                f"One of the runs was merged from several versions of {PROJECT} on one machine. Compare the runs that "
                "it was merged from."
            )
    return found


def _conditions(manifest: Manifest, machine: str) -> dict[str, object]:
    """Return the conditions of all runs on a machine."""
    found: dict[str, object] = {}
    for run in manifest.runs:
        if run.machine == machine:
            found |= conditions(run)
    return found


def _nearest(base: Manifest, head: Manifest) -> str:
    """Return the differences between the two most similar machines."""
    differences = [
        _differing(mine.facts, theirs.facts)
        for mine in base.environments.values()
        for theirs in head.environments.values()
    ]
    if not differences:
        return "one of them does not name a machine"
    fewest = min(differences, key=len)
    return ", ".join(fewest)


def _differing(base: Mapping[str, object], head: Mapping[str, object]) -> list[str]:
    names: Iterable[str] = dict.fromkeys([*base, *head])
    return [f"{name} ({base.get(name)}, then {head.get(name)})" for name in names if base.get(name) != head.get(name)]


def _describe(environment: Environment) -> str:
    return f"{environment.processor}, {environment.python}, {environment.system}"
