"""Interpreters and virtual environments: identifying a Python, creating an empty environment, listing its contents."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, BuildError
from bench.measure.tools import pip_environment, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

# The markers of PEP 508, without the two that change with every kernel update.
_DESCRIBE = """
import json, os, platform, sys, sysconfig
version = "{0.major}.{0.minor}.{0.micro}".format(sys.implementation.version)
if sys.implementation.version.releaselevel != "final":
    version += sys.implementation.version.releaselevel[0] + str(sys.implementation.version.serial)
print(json.dumps({
    "identity": [
        sys.version, sys.implementation.name, sysconfig.get_platform(), sysconfig.get_config_var("EXT_SUFFIX")
    ],
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""

_LIST = """
import importlib.metadata, json, re, sysconfig
found = {}
for distribution in importlib.metadata.distributions():
    name = distribution.metadata["Name"]
    if name:
        found.setdefault(re.sub("[-_.]+", "-", name).lower(), distribution.version)
print(json.dumps({"packages": found, "site_packages": sysconfig.get_path("purelib")}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on which revisions are measured.

    Attributes:
        python: its executable.
        identity: what must match for installed packages to work.
        markers: its values of the environment markers (PEP 508).
    """

    python: Path
    identity: tuple[str, ...] = field(repr=False)
    markers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Contents:
    """What is in a virtual environment.

    Attributes:
        site_packages: the folder of its packages.
        packages: normalized name -> version of every distribution that can be imported there.
    """

    site_packages: Path
    packages: Mapping[str, str]


def describe(python: Path, environ: Mapping[str, str]) -> Interpreter:
    """Ask a Python for its identity.

    Raises:
        BenchError: it cannot be run.
    """
    python = python.absolute()
    said = _ask(python, _DESCRIBE, environ)
    return Interpreter(python, tuple(map(str, said["identity"])), said["markers"])


def make_venv(interpreter: Interpreter, folder: Path, environ: Mapping[str, str]) -> None:
    """Create an empty virtual environment, without pip.

    Raises:
        BuildError: it cannot be created.
    """
    if os.path.lexists(folder):
        raise BuildError(f"{folder} already exists; a virtual environment needs a new folder")
    words = [str(interpreter.python), "-I", "-m", "venv", "--without-pip", str(folder)]
    done = run_program(words, pip_environment(environ), merged=True)
    if done.failed:
        raise BuildError(f"Creating the virtual environment {folder} {done.how}:\n{done.words}")


def python_of(folder: Path) -> Path:
    """Return the Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def look_into(folder: Path, environ: Mapping[str, str]) -> Contents:
    """Return what is in a virtual environment.

    Raises:
        BenchError: its Python cannot be run.
    """
    said = _ask(python_of(folder), _LIST, environ)
    return Contents(Path(said["site_packages"]), said["packages"])


def _ask(python: Path, code: str, environ: Mapping[str, str]) -> dict[str, Any]:
    done = run_program([str(python), "-I", "-c", code], pip_environment(environ))
    try:
        said = json.loads(done.output.splitlines()[-1])  # a sitecustomize may print something first
    except (IndexError, ValueError) as error:
        raise BenchError(f"{python} does not respond like Python 3.11 or later ({done.how}):\n{done.words}") from error
    if not isinstance(said, dict):
        raise BenchError(f"{python} does not respond like Python 3.11 or later: {said!r}")
    return said
