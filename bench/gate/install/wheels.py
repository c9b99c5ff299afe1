"""A revision's wheel: building it, and reading what it requires.

Packages are imported when they are needed, so that a Python without pip can still report that.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BuildError
from bench.measure.tools import TIMEOUT_S, run_pip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement


@dataclass(frozen=True)
class Metadata:
    """What a wheel says about itself: the distribution's name and version, and its requirements."""

    name: str
    version: str
    requires: tuple[Requirement, ...]


def build_wheel(
    source: Path,
    target: Path,
    environ: Mapping[str, str],
    *,
    python: Path | None = None,
    pip_arguments: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """Build a checkout's wheel, without its dependencies.

    Args:
        source: the checkout; builds may leave files in it.
        target: the folder for the wheel, created if needed; must not hold another wheel.
        environ: environment of pip and the build.
        python: the Python to build for; None for this one.
        pip_arguments: more arguments of ``pip wheel``.
        timeout_s: time limit of the build.

    Raises:
        BuildError: it cannot be built; the message ends with the end of the build's output.
        BenchError: this Python has no pip.
    """
    words = ["wheel", "--no-deps", "--wheel-dir", str(target), *pip_arguments, str(source)]
    run_pip(f"Building the revision in {source}", words, environ, timeout_s, python=python)
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        names = ", ".join(sorted(wheel.name for wheel in wheels)) or "none"
        raise BuildError(f"Building the revision in {source} should leave one wheel in {target}, but it has: {names}")
    return wheels[0]


def read_metadata(wheel: Path) -> Metadata:
    """Return what the wheel says about itself.

    Raises:
        BuildError: it is not a wheel, lacks a name or a version, or has a requirement that no installer understands.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    found = list(importlib.metadata.distributions(path=[str(wheel)]))
    if len(found) != 1:
        raise BuildError(f"{wheel} is not a wheel with one .dist-info folder; check its build")
    fields = found[0].metadata
    name, version = ((fields.get_all(key) or [""])[0] for key in ("Name", "Version"))
    if not name or not version:
        raise BuildError(f"The metadata of {wheel} lacks a name or a version; check its build")
    try:
        requires = tuple(Requirement(" ".join(line.split())) for line in fields.get_all("Requires-Dist") or ())
    except InvalidRequirement as error:
        raise BuildError(f"The metadata of {wheel} has a requirement that is none: {error}") from error
    return Metadata(name, version, requires)


def requirements_for(metadata: Metadata, extras: Iterable[str], markers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requirements that apply to an interpreter with some extras, sorted.

    An extra may include other extras of the same distribution (``this[onnx,torch]; extra == 'all'``); theirs apply too.

    Args:
        metadata: the wheel's metadata.
        extras: the requested extras.
        markers: the interpreter's (PEP 508: ``python_version`` and so on).
    """
    from packaging.utils import canonicalize_name

    own, wanted = canonicalize_name(metadata.name), {canonicalize_name(extra) for extra in extras}
    while True:
        applying = [
            each
            for each in metadata.requires
            if each.marker is None or any(each.marker.evaluate({**markers, "extra": extra}) for extra in ("", *wanted))
        ]
        mine = [each for each in applying if canonicalize_name(each.name) == own]
        nested = {canonicalize_name(extra) for each in mine for extra in each.extras}
        if nested <= wanted:
            return tuple(sorted({str(each) for each in applying}))
        wanted |= nested
