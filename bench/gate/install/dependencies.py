"""A revision's requirements, and installing them without the revision."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.gate.install.venvs import Contents, Interpreter, look_into, make_venv, python_of
from bench.gate.install.wheels import read_metadata, requirements_for
from bench.measure.tools import run_pip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """What to install for a wheel.

    Attributes:
        wheel: the project's wheel.
        interpreter: the Python to install for.
        extras: extras of the project to install as well.
        requirements: requirements to install as well (``("psutil>=5.9",)``).
        constraints: a pip constraints file.
        pip_arguments: more arguments of ``pip install``.
    """

    wheel: Path
    interpreter: Interpreter
    extras: Sequence[str] = ()
    requirements: Sequence[str] = ()
    constraints: Path | None = None
    pip_arguments: Sequence[str] = ()


@dataclass(frozen=True)
class Needs:
    """Everything that determines what an environment contains, except the day: an index gets new versions.

    Attributes:
        interpreter: the Python's identity.
        name: the project's name.
        requires: its requirements that apply.
        extras: the requested extras of the project.
        requirements: what else is requested.
        constraints: text of the constraints file, "" for none.
        pip_arguments: more arguments of ``pip install``.
    """

    interpreter: tuple[str, ...]
    name: str
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    requirements: tuple[str, ...]
    constraints: str
    pip_arguments: tuple[str, ...]

    @property
    def key(self) -> str:
        """A hash of all that, in 32 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def needs_of(wanted: Wanted) -> Needs:
    """Return what determines the environment for a wheel.

    Raises:
        BenchError: the wheel or the constraints file cannot be read, or a requirement is an option.
    """
    metadata = read_metadata(wanted.wheel)
    for requirement in wanted.requirements:
        if not requirement.strip() or requirement.startswith("-"):
            raise BenchError(f"{requirement!r} is not a requirement; pip options go into pip_arguments")
    return Needs(
        wanted.interpreter.identity,
        metadata.name,
        requirements_for(metadata, wanted.extras, wanted.interpreter.markers),
        tuple(sorted(set(wanted.extras))),
        tuple(sorted(wanted.requirements)),
        _text_of(wanted.constraints),
        tuple(wanted.pip_arguments),
    )


def make_dependencies(wanted: Wanted, folder: Path, environ: Mapping[str, str], timeout_s: float) -> Contents:
    """Create a virtual environment with everything a wheel requires, but not the wheel.

    Args:
        wanted: what to install.
        folder: the environment's folder; must not exist.
        environ: environment of the programs that this runs.
        timeout_s: time limit of each of them.

    Raises:
        BuildError: it cannot be created; the message ends with the end of pip's output.
    """
    make_venv(wanted.interpreter, folder, environ)
    name = read_metadata(wanted.wheel).name
    extras = f"[{','.join(sorted(set(wanted.extras)))}]" if wanted.extras else ""
    install = ["install", "--no-user", "--compile", *wanted.pip_arguments]
    install += [] if wanted.constraints is None else ["--constraint", str(wanted.constraints)]
    install += [f"{name}{extras} @ {wanted.wheel.absolute().as_uri()}", *wanted.requirements]
    # Install the project with its dependencies, so that pip resolves as for a user, then uninstall it alone.
    for words in (install, ["uninstall", "--yes", name]):
        doing = f"Installing the dependencies of {wanted.wheel.name} (pip {words[0]})"
        run_pip(doing, words, environ, timeout_s, python=python_of(folder))
    return look_into(folder, environ)


def _text_of(constraints: Path | None) -> str:
    if constraints is None:
        return ""
    try:
        return constraints.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BenchError(f"The constraints file {constraints} cannot be read: {error}") from error
