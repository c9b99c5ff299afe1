"""Fixtures of several files here."""

import sys
from pathlib import Path

import pytest

from bench.gate.install.dependencies import Wanted
from bench.gate.install.store import Store
from bench.gate.install.venvs import describe
from tests.bench.gate.environments.places import ENVIRON
from tests.bench.gate.tiny_projects import write_wheel


@pytest.fixture(scope="module")
def interpreter():
    return describe(Path(sys.executable), ENVIRON)


@pytest.fixture
def index(tmp_path):
    """A folder with the wheels of the packages that the projects here require."""
    folder = tmp_path / "index of wheels"
    folder.mkdir()
    write_wheel(folder, "wood", "1.0", script="wood = wood:main")
    write_wheel(folder, "wood", "2.0")
    # Has a .pth file of its own, which adds a folder: as editable and namespace packages do.
    files = {"nails.pth": "nails_hidden\n", "nails_hidden/hidden_nails.py": "WORKS = True\n"}
    write_wheel(folder, "nails", "1.0", files=files)
    return folder


@pytest.fixture
def wanted(interpreter, index):
    """Describe what a wheel wants, from the index: ``wanted(wheel, ...)``."""

    def make(wheel, **options):
        return Wanted(wheel, interpreter, pip_arguments=("--no-index", "--find-links", str(index)), **options)

    return make


@pytest.fixture
def store(tmp_path):
    said = []
    made = Store(tmp_path / "store", say=said.append)
    made.said = said
    return made


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()

    def make(version="1.0", requires=("wood",), **options):
        target = folder / str(len(list(folder.iterdir())))
        target.mkdir()
        return write_wheel(target, "house", version, requires=requires, script="house = house:main", **options)

    return make
