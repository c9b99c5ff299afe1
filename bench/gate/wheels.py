"""A revision's wheel: building it, and reading what it requires.

Imports of packages wait until they are needed, so that a Python without pip can still say so.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import compat32
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BuildError
from bench.gate.programs import TIMEOUT_S, run_pip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement


@dataclass(frozen=True)
class Metadata:
    """What a wheel says about itself.

    Attributes:
        name: of the distribution.
        version: its version.
        requires: what it requires, each as it stands there (``numpy>=2; extra == 'fast'``).
        requires_python: the Pythons it is for, "" if it does not say.
        extras: the extras it offers.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    requires_python: str
    extras: tuple[str, ...]


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
        target: the folder for the wheel, made if needed; must hold no other wheel.
        environ: of pip and the build.
        python: for which Python to build; None for this one.
        pip_arguments: further arguments of ``pip wheel``.
        timeout_s: limit of the build.

    Raises:
        BuildError: it cannot be built; ends with the end of what the build said.
        BenchError: this Python has no pip.
    """
    words = ["wheel", "--no-deps", "--wheel-dir", str(target), *pip_arguments, str(source)]
    done = run_pip(words, environ, timeout_s, python=python)
    if done.failed:
        raise BuildError(f"Building the revision in {source} {done.how}. The end of its output:\n{done.words}")
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        names = ", ".join(sorted(wheel.name for wheel in wheels)) or "none"
        raise BuildError(f"Building the revision in {source} should leave one wheel in {target}; there are: {names}")
    return wheels[0]


def read_metadata(wheel: Path) -> Metadata:
    """Return what the wheel says about itself.

    Raises:
        BuildError: it is not a wheel, or lacks a name or a version.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            (entry,) = [
                name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            ]
            message = BytesParser(policy=compat32).parsebytes(archive.read(entry), headersonly=True)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BuildError(f"{wheel} is not a wheel with one METADATA file ({error}); look at its build") from error
    name, version = str(message.get("Name", "")).strip(), str(message.get("Version", "")).strip()
    if not name or not version:
        raise BuildError(f"The METADATA of {wheel} lacks a name or a version; look at its build")
    requires = tuple(" ".join(str(line).split()) for line in message.get_all("Requires-Dist", []))
    requires_python = str(message.get("Requires-Python", "")).strip()
    extras = tuple(str(line).strip() for line in message.get_all("Provides-Extra", []))
    return Metadata(name, version, requires, requires_python, extras)


def requirements_for(metadata: Metadata, extras: Iterable[str], markers: Mapping[str, str]) -> tuple[str, ...]:
    """Return, sorted, the requirements that apply to an interpreter with some extras.

    An extra may ask for other extras of the same distribution (``this[onnx,torch]; extra == 'all'``); theirs apply too.

    Args:
        metadata: of the wheel.
        extras: asked for.
        markers: of the interpreter (PEP 508: ``python_version`` and so on).
    """
    from packaging.utils import canonicalize_name

    parsed = [(line, _parse(line)) for line in metadata.requires]
    wanted = {canonicalize_name(extra) for extra in extras}
    while True:
        # What cannot be read applies: pip decides about it.
        applying = [(line, found) for line, found in parsed if found is None or _applies(found, wanted, markers)]
        own = canonicalize_name(metadata.name)
        nested = {
            canonicalize_name(extra)
            for _, found in applying
            if found is not None and canonicalize_name(found.name) == own
            for extra in found.extras
        }
        if nested <= wanted:
            return tuple(sorted({line for line, _ in applying}))
        wanted |= nested


def _parse(line: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _applies(requirement: Requirement, extras: Iterable[str], markers: Mapping[str, str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**markers, "extra": extra}) for extra in ("", *extras))
