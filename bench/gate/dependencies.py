"""What a revision requires, and installing that without the revision."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, BuildError
from bench.gate.programs import run_pip
from bench.gate.venvs import Contents, Interpreter, look_into, make_venv, python_of
from bench.gate.wheels import read_metadata, requirements_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """What to install for a wheel.

    Attributes:
        wheel: of the project.
        interpreter: for which Python.
        extras: of the project to install as well.
        requirements: to install as well (``("psutil>=5.9",)``).
        constraints: a constraints file of pip.
        pip_arguments: further arguments of ``pip install``.
    """

    wheel: Path
    interpreter: Interpreter
    extras: Sequence[str] = ()
    requirements: Sequence[str] = ()
    constraints: Path | None = None
    pip_arguments: Sequence[str] = ()


@dataclass(frozen=True)
class Needs:
    """All that decides what an environment contains, except the day: an index gets new versions.

    Attributes:
        interpreter: identity of the Python.
        name: of the project.
        requires: those of its requirements that apply.
        extras: of the project that are asked for.
        requirements: what else is asked for.
        constraints: text of the constraints file, "" for none.
        pip_arguments: further arguments of ``pip install``.
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
        """The name of the environment's folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def needs_of(wanted: Wanted) -> Needs:
    """Return what decides about the environment for a wheel.

    Raises:
        BenchError: the wheel or the constraints file cannot be read, or an option stands among the requirements.
    """
    metadata = read_metadata(wanted.wheel)
    for requirement in wanted.requirements:
        if not requirement.strip() or requirement.startswith("-"):
            raise BenchError(f"{requirement!r} is not a requirement; options of pip go in its own arguments")
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
    """Make a virtual environment with all that a wheel requires, but not the wheel.

    Args:
        wanted: what to install.
        folder: of the environment; must not exist.
        environ: of the programs that this runs.
        timeout_s: limit of each of them.

    Raises:
        BuildError: it cannot be made; ends with the end of what pip said.
    """
    make_venv(wanted.interpreter, folder, environ)
    name = read_metadata(wanted.wheel).name
    extras = f"[{','.join(sorted(set(wanted.extras)))}]" if wanted.extras else ""
    install = ["install", "--no-user", "--compile", *wanted.pip_arguments]
    install += [] if wanted.constraints is None else ["--constraint", str(wanted.constraints)]
    install += [f"{name}{extras} @ {wanted.wheel.absolute().as_uri()}", *wanted.requirements]
    # The project comes with its dependencies, so that pip resolves as for a user, and goes alone.
    for words in (install, ["uninstall", "--yes", name]):
        done = run_pip(words, environ, timeout_s, python=python_of(folder))
        if done.failed:
            raise BuildError(
                f"Installing the dependencies of {wanted.wheel.name}: pip {words[0]} {done.how}. "
                f"The end of its output:\n{done.words}"
            )
    return look_into(folder, environ)


def _text_of(constraints: Path | None) -> str:
    if constraints is None:
        return ""
    try:
        return constraints.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BenchError(f"The constraints file {constraints} cannot be read: {error}") from error
