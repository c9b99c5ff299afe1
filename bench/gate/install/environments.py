"""An arm's own virtual environment: one revision of the project, on top of shared dependencies.

It holds only the project, so that creating it takes seconds and two revisions never see each other. A ``.pth`` file
adds the site-packages of the dependencies (``bench.gate.install.store``), whose own ``.pth`` files work as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.gate.install.venvs import look_into, make_venv, python_of
from bench.gate.install.wheels import read_metadata
from bench.measure.tools import TIMEOUT_S, run_pip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.gate.install.store import Dependencies

_PTH = "bench_gate_dependencies.pth"


@dataclass(frozen=True)
class ArmEnvironment:
    """One arm's virtual environment.

    Attributes:
        folder: the environment's folder.
        python: its Python.
        scripts: the folder of its programs (``bin``); the project's console scripts are there.
        distribution: name of the project, as in its wheel.
        version: the project's version.
        packages: normalized name -> version of everything that can be imported, including the project.
        reused: whether its dependencies already existed.
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
) -> ArmEnvironment:
    """Create an arm's environment: the wheel on top of its dependencies, with bytecode.

    Args:
        wheel: the revision's wheel.
        folder: the environment's folder; must not exist.
        dependencies: what the wheel requires.
        environ: environment of the programs that this runs.
        timeout_s: time limit of each of them.

    Raises:
        BuildError: it cannot be created.
    """
    metadata = read_metadata(wheel)
    make_venv(dependencies.interpreter, folder, environ)
    python = python_of(folder)
    # Code, not only a path: only addsitedir reads the .pth files of the dependencies. ascii() works in every locale.
    line = f"import site; site.addsitedir({str(dependencies.site_packages)!a})\n"
    (look_into(folder, environ).site_packages / _PTH).write_text(line, encoding="ascii")
    words = ["install", "--no-deps", "--no-index", "--no-user", "--compile", str(wheel)]
    run_pip(f"Installing {wheel.name} in {folder}", words, environ, timeout_s, python=python)
    packages = look_into(folder, environ).packages
    return ArmEnvironment(
        folder, python, python.parent, metadata.name, metadata.version, packages, reused=dependencies.reused
    )
