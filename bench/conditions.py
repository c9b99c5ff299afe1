"""Which runs may be compared: those of the same machine that are alike in everything but this project's version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environment import PROJECT, comparable
from bench.errors import BenchError
from bench.merge import DECIDES_ABOUT_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class IncomparableError(BenchError):
    """The runs were not measured alike; exit code 3."""


@dataclass(frozen=True)
class Machines:
    """The machines of two runs.

    Attributes:
        both: those that both have: the fingerprint in the one, and in the other.
        alone: a sentence for each that only one of them has.
    """

    both: Mapping[str, str]
    alone: tuple[str, ...]


def match_machines(base: Mapping[str, Any], head: Mapping[str, Any]) -> Machines:
    """Return which machine of one run is which of the other.

    Args:
        base: manifest of the one.
        head: manifest of the other.

    Raises:
        IncomparableError: they share none, or were not measured alike on one that they share.
    """
    mine, theirs = _by_comparable(base), _by_comparable(head)
    both = {mine[key]: theirs[key] for key in mine if key in theirs}
    if not both:
        raise IncomparableError(
            f"The runs were not measured alike: {_nearest(base, head)}. Measure both on the same machine, with the "
            "same versions of everything but this project."
        )
    for one, other in both.items():
        differing = _differing(_conditions(base, one), _conditions(head, other))
        if differing:
            raise IncomparableError(
                f"The runs were not measured alike: {', '.join(differing)}. Measure one of them again."
            )
    alone = [
        f"{_describe(run['environments'][machine])} is only in the {name} run"
        for name, run, found, others in (("base", base, mine, theirs), ("head", head, theirs, mine))
        for key, machine in found.items()
        if key not in others
    ]
    return Machines(both, tuple(alone))


def _by_comparable(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's fingerprints by what they have in common with those of other versions of this project."""
    found: dict[str, str] = {}
    for machine, environment in manifest["environments"].items():
        if found.setdefault(comparable(environment), machine) != machine:
            raise IncomparableError(
                f"One of the runs was merged from several versions of {PROJECT} on one machine. Compare the runs that "
                "it was merged from."
            )
    return found


def _conditions(manifest: Mapping[str, Any], machine: str) -> dict[str, object]:
    """Return what decides about samples besides the machine and its versions."""
    found: dict[str, object] = {}
    for run in manifest.get("merged") or [manifest]:
        if run.get("machine") == machine:
            protocol = run.get("protocol") or {}
            found |= {f"protocol.{name}": protocol.get(name) for name in DECIDES_ABOUT_SAMPLES}
            found |= {f"the variable {name}": value for name, value in run.get("variables", {}).items()}
    return found


def _nearest(base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """Return how the two machines differ that differ in least."""
    differences = [
        _differing(_flat(mine), _flat(theirs))
        for mine in base["environments"].values()
        for theirs in head["environments"].values()
    ]
    if not differences:
        return "one of them names no machine"
    fewest = min(differences, key=len)
    return ", ".join(fewest)


def _flat(environment: Mapping[str, Any]) -> dict[str, object]:
    packages = {name: version for name, version in environment.get("packages", {}).items() if name != PROJECT}
    return {key: value for key, value in environment.items() if key not in {"packages", "load_average_1min"}} | packages


def _differing(base: Mapping[str, object], head: Mapping[str, object]) -> list[str]:
    names: Iterable[str] = dict.fromkeys([*base, *head])
    return [f"{name} ({base.get(name)}, then {head.get(name)})" for name in names if base.get(name) != head.get(name)]


def _describe(environment: Mapping[str, Any]) -> str:
    return f"{environment.get('processor')}, {environment.get('python')}, {environment.get('system')}"
