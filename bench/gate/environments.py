"""An arm's own virtual environment: one revision of the project, over dependencies that it shares.

It holds the project only, so that making it takes seconds and two revisions never see each other. A ``.pth`` file adds
the site-packages of the dependencies (``bench.gate.store``), whose own ``.pth`` files work as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BuildError
from bench.gate.programs import TIMEOUT_S, run_pip
from bench.gate.venvs import look_into, make_venv, python_of
from bench.gate.wheels import read_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.gate.store import Dependencies

_PTH = "bench_gate_dependencies.pth"


@dataclass(frozen=True)
class Environment:
    """One arm's virtual environment.

    Attributes:
        folder: of the environment.
        python: its Python.
        scripts: the folder of its programs (``bin``); the project's console scripts are there.
        distribution: name of the project, as its wheel says.
        version: of the project.
        packages: normalized name -> version of all that can be imported, the project included.
        reused: whether its dependencies were there already.
    """

    folder: Path
    python: Path
    scripts: Path
    distribution: str
    version: str
    packages: Mapping[str, str] = field(repr=False)
    reused: bool


def install(
    wheel: Path,
    folder: Path,
    dependencies: Dependencies,
    environ: Mapping[str, str],
    *,
    timeout_s: float = TIMEOUT_S,
) -> Environment:
    """Make an arm's environment: the wheel over its dependencies, with bytecode.

    Args:
        wheel: of the revision.
        folder: of the environment; must not exist.
        dependencies: what the wheel requires.
        environ: of the programs that this runs.
        timeout_s: limit of each of them.

    Raises:
        BuildError: it cannot be made.
    """
    metadata = read_metadata(wheel)
    make_venv(dependencies.interpreter, folder, environ)
    python = python_of(folder)
    # Code, not a path alone: only addsitedir reads the .pth files of the dependencies. ascii() fits every locale.
    line = f"import site; site.addsitedir({str(dependencies.site_packages)!a})\n"
    (look_into(folder, environ).site_packages / _PTH).write_text(line, encoding="ascii")
    words = ["install", "--no-deps", "--no-index", "--no-user", "--compile", str(wheel)]
    done = run_pip(words, environ, timeout_s, python=python)
    if done.failed:
        raise BuildError(f"Installing {wheel.name} in {folder} {done.how}:\n{done.words}")
    packages = look_into(folder, environ).packages
    return Environment(
        folder, python, python.parent, metadata.name, metadata.version, packages, reused=dependencies.reused
    )
