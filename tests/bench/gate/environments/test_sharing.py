"""Installed dependencies that several gates use."""

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from filelock import FileLock

from bench.errors import BenchError, BuildError
from bench.gate.install.store import KEPT, USED_S, Store
from bench.gate.install.venvs import describe, make_venv, python_of
from bench.measure.tools import tail
from tests.bench.gate.environments.places import ENVIRON, MARKERS, assert_gone, environments
from tests.bench.gate.tiny_projects import write_sdist
from tests.conftest import ROOT

pytestmark = pytest.mark.process


def stand_in(store, number, age_s, *, is_ready=True):
    """Lay out an environment as the store would, without the time to make it, last used so long ago."""
    folder = store.folder / f"dependencies-{number:032x}-{number:08x}"
    folder.mkdir(parents=True)
    used = folder
    if is_ready:
        used = folder / "ready.json"
        used.write_text(json.dumps({"packages": {}, "site_packages": "x"}))
    then = time.time() - age_s
    os.utime(used, (then, then))
    return folder


def test_the_most_recently_used_are_kept(store, wanted, wheels):
    old = [stand_in(store, number, 10 * USED_S - number) for number in range(KEPT + 2)]
    half_made = stand_in(store, 99, 11 * USED_S, is_ready=False)
    # Other programs' folders, and a link of ours to elsewhere.
    strangers = [store.folder / "photographs", store.folder / ("e" * 32), store.folder / f"dependencies-{'e' * 32}"]
    for stranger in strangers:
        stranger.mkdir()
        (stranger / "ready.json").write_text("{}")
        os.utime(stranger / "ready.json", (1, 1))
    link = store.folder / f"dependencies-{'f' * 32}-{'f' * 8}"
    link.symlink_to(strangers[0])
    made = store.dependencies(wanted(wheels()), ENVIRON)
    assert environments(store) == sorted([made.folder, link, *strangers, *old[-(KEPT - 1) :]])
    assert not half_made.exists()


def test_a_use_makes_an_environment_the_most_recent(store, wanted, wheels):
    made = store.dependencies(wanted(wheels()), ENVIRON)
    os.utime(made.folder / "ready.json", (1, 1))
    others = [stand_in(store, number, 10 * USED_S - number) for number in range(KEPT)]
    assert Store(store.folder).dependencies(wanted(wheels()), ENVIRON).reused
    assert environments(store) == sorted([made.folder, *others[1:]])


def test_what_may_be_in_use_or_in_the_making_is_not_removed(store, wanted, wheels):
    """By a gate of another machine too, whose lock many shared disks do not pass on."""
    used, making = stand_in(store, 1, USED_S - 600), stand_in(store, 2, USED_S - 600, is_ready=False)
    locked, unused = stand_in(store, 3, USED_S + 600), stand_in(store, 4, USED_S + 600)
    for number in range(5, 5 + KEPT):
        stand_in(store, number, 0)
    with FileLock(store.folder / f"{3:032x}.lock"):
        store.dependencies(wanted(wheels()), ENVIRON)
    assert [folder.exists() for folder in (used, making, locked, unused)] == [True, True, True, False]


MAKE = """
import os, sys
from pathlib import Path
from bench.gate.install.dependencies import Wanted
from bench.gate.install.venvs import describe
from bench.gate.install.janitor import guarded
from bench.gate.install.store import Store

wheel, index, folder, scratch = sys.argv[1:]
with guarded(Path(scratch)) as guard:
    environ = dict(os.environ) | guard.variables
    interpreter = describe(Path(sys.executable), environ)
    wanted = Wanted(Path(wheel), interpreter, pip_arguments=("--no-index", "--find-links", index))
    made = Store(Path(folder)).dependencies(wanted, environ)
    print("reused" if made.reused else "made", flush=True)
    sys.stdin.read()
"""


def start_making(wheel, index, store, tmp_path, **variables):
    words = [sys.executable, "-c", MAKE, str(wheel), str(index), str(store.folder), str(tmp_path)]
    environ = ENVIRON | variables
    return subprocess.Popen(words, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_gates_at_once_make_one(store, wheels, index, tmp_path):
    wheel = wheels()
    gates = [start_making(wheel, index, store, tmp_path) for _ in range(2)]
    assert sorted(gate.stdout.readline() for gate in gates) == ["made\n", "reused\n"]
    for gate in gates:
        gate.communicate(timeout=60)
        assert gate.returncode == 0
    assert len(environments(store)) == 1


def test_a_gate_that_is_killed_while_it_installs_does_no_harm(store, wanted, wheels, index, tmp_path):
    hanging = tmp_path / "hanging"
    before = (
        f"hanging = Path({str(hanging)!r})\n"
        "if not hanging.exists():\n    hanging.write_text(str(os.getpid()))\n    time.sleep(600)"
    )
    write_sdist(index, "glue", before=before)
    wheel = wheels(requires=["wood", "glue"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with start_making(wheel, index, store, tmp_path, TMPDIR=str(elsewhere)) as gate:
        while not (hanging.exists() and hanging.read_text()):
            assert gate.poll() is None
            time.sleep(0.02)
        assert list(elsewhere.iterdir()) == [], "pip keeps its temporary files in the gate's own folder"
        gate.kill()
    assert_gone(int(hanging.read_text()))
    assert len(environments(store)) == 1, "half made"
    made = store.dependencies(wanted(wheel), ENVIRON)
    assert (made.reused, set(made.packages)) == (False, {"wood", "glue"})


def test_an_environment_is_made_afresh(tmp_path, interpreter):
    (tmp_path / "there").mkdir()
    with pytest.raises(BuildError, match="already exists"):
        make_venv(interpreter, tmp_path / "there", ENVIRON)


def test_another_python_may_be_chosen(tmp_path):
    venv.create(tmp_path / "another", with_pip=False, symlinks=True)
    another = describe(python_of(tmp_path / "another"), ENVIRON)
    assert another.python == python_of(tmp_path / "another"), "not what it links to"
    assert set(another.markers) == set(MARKERS)
    for wrong in (tmp_path / "missing", Path("/bin/true"), Path("/bin/false"), Path("/bin/echo")):
        with pytest.raises(BenchError, match=wrong.name):
            describe(wrong, ENVIRON)


def test_the_tail_is_of_lines():
    assert tail("a\nb\nc\n\n", 2) == "b\nc"
    assert tail("", 2) == ""
