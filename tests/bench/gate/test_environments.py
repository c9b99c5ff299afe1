"""Building revisions and installing them over kept dependencies, with the real pip and without an index."""

import json
import os
import subprocess
import sys
import time
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from packaging.requirements import Requirement

from bench.errors import BenchError, BuildError
from bench.gate.install.dependencies import Wanted, needs_of
from bench.gate.install.environments import install
from bench.gate.install.store import KEPT, USED_S, Store
from bench.gate.install.venvs import describe, make_venv, python_of
from bench.gate.install.wheels import Metadata, build_wheel, read_metadata, requirements_for
from bench.measure.tools import pip_environment, run_program, tail
from tests.bench.gate.tiny_projects import make_project, write_sdist, write_wheel
from tests.conftest import ROOT

pytestmark = pytest.mark.process

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "GIT_"))}
ENVIRON["PIP_CONFIG_FILE"] = os.devnull
MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}


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


def environments(store):
    return sorted(path for path in store.folder.iterdir() if path.is_dir())


def run(environment, *words):
    done = run_program([str(environment.python), *words], pip_environment(ENVIRON))
    assert done.code == 0, done.errors
    return done.output.strip()


# Wheels


def test_a_wheel_is_built_and_read(tmp_path):
    source = make_project(
        tmp_path / "a source", "house", "2.1", requires=["wood>=1", "nails; extra == 'x'"], extras=["x"]
    )
    wheel = build_wheel(source, tmp_path / "new" / "folder", ENVIRON)
    assert wheel == tmp_path / "new" / "folder" / "house-2.1-py3-none-any.whl"
    requires = (Requirement("wood>=1"), Requirement("nails; extra == 'x'"))
    assert read_metadata(wheel) == Metadata("house", "2.1", requires)


def test_a_build_that_fails_says_where_and_why(tmp_path):
    before = "for number in range(1000): print('line', number)\nraise RuntimeError('the roof is missing')"
    source = make_project(tmp_path / "head", "house", before=before)
    with pytest.raises(BuildError, match="the roof is missing") as caught:
        build_wheel(source, tmp_path / "wheels", ENVIRON)
    assert str(source) in str(caught.value)
    assert "line 999\n" in str(caught.value)
    assert "line 900\n" not in str(caught.value), "the end is enough"
    assert str(caught.value).count("\n") < 50


def test_a_folder_without_a_project_is_a_build_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildError, match=r"empty(.|\n)*pyproject\.toml"):
        build_wheel(tmp_path / "empty", tmp_path / "wheels", ENVIRON)


def test_a_build_that_hangs_is_ended_with_what_it_started(tmp_path):
    pids = tmp_path / "pid"
    before = f"Path({str(pids)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    source = make_project(tmp_path / "head", "house", before=before)
    for timeout_s in (3, 30, 200):  # enough to get as far as that, on a slow machine too
        with pytest.raises(BuildError, match="took too long"):
            build_wheel(source, tmp_path / "wheels", ENVIRON, timeout_s=timeout_s)
        if pids.exists() and pids.read_text():
            break
    assert_gone(int(pids.read_text()))


def assert_gone(pid):
    still = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=60)[1]
    assert [process for process in still if process.status() != psutil.STATUS_ZOMBIE] == []


def test_the_callers_variables_do_not_reach_the_build(tmp_path):
    """A gate that a git hook started, with a PYTHONPATH: the build must see neither; an index setting passes."""
    before = "Path('seen.json').write_text(json.dumps(dict(os.environ)))"
    source = make_project(tmp_path / "head", "house", before=before)
    hostile = {"GIT_DIR": "/nowhere", "PYTHONPATH": str(ROOT), "PIP_TARGET": str(tmp_path / "else")}
    build_wheel(source, tmp_path / "wheels", ENVIRON | hostile | {"PIP_INDEX_URL": "https://example.org/simple"})
    seen = json.loads((source / "seen.json").read_text())
    assert "GIT_DIR" not in seen
    assert str(ROOT) not in seen.get("PYTHONPATH", "").split(os.pathsep)
    assert seen["PIP_INDEX_URL"] == "https://example.org/simple"


def test_without_pip_there_is_a_message():
    code = """
import sys
from pathlib import Path
from bench.errors import BenchError
from bench.gate.install.wheels import build_wheel
try:
    build_wheel(Path("a"), Path("b"), {})
except BenchError as error:
    print(error)
"""
    # -S: no site-packages, and so no pip.
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{sys.executable} -m ensurepip" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        {},
        {"a-1.dist-info/METADATA": ""},
        {"a-1.dist-info/METADATA": "Name: a\n"},
        {"a-1.dist-info/METADATA": "Name: a\nVersion: 1\n", "b-1.dist-info/METADATA": "Name: b\nVersion: 1\n"},
        {"deep/a-1.dist-info/METADATA": "Name: a\nVersion: 1\n"},
        {"a-1.dist-info/METADATA": "Name: a\nVersion: 1\nRequires-Dist: b >=\n"},
    ],
)
def test_what_is_no_wheel_is_a_build_error(tmp_path, content):
    path = tmp_path / "a.whl"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    with pytest.raises(BuildError, match=r"a\.whl"):
        read_metadata(path)
    with pytest.raises(BuildError, match=r"missing\.whl"):
        read_metadata(tmp_path / "missing.whl")


def test_a_truncated_wheel_is_a_build_error(tmp_path):
    whole = write_wheel(tmp_path, "house").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.whl").write_bytes(whole[:length])
        with pytest.raises(BuildError, match=r"cut\.whl"):
            read_metadata(tmp_path / "cut.whl")


# Which requirements apply

REQUIRES = (
    "b>=1",
    "a",
    "onnx-thing; extra == 'onnx'",
    "torch-thing; extra == 'torch'",
    "My.Project[onnx,Torch]; extra == 'all'",
    "windows-thing; sys_platform == 'win32'",
    "linux-onnx; sys_platform == 'linux' and extra == 'onnx'",
    "new-python; python_version >= '3.12'",
)
TIDY = [str(Requirement(line)) for line in REQUIRES]


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        ((), ["a", "b>=1"]),
        (("torch",), ["a", "b>=1", TIDY[3]]),
        (("ONNX",), ["a", "b>=1", TIDY[6], TIDY[2]]),
        (("all",), [TIDY[4], "a", "b>=1", TIDY[6], TIDY[2], TIDY[3]]),
        (("unknown",), ["a", "b>=1"]),
    ],
)
def test_the_requirements_that_apply(extras, expected):
    for requires in (REQUIRES, REQUIRES[::-1]):
        metadata = Metadata("my-project", "1", tuple(map(Requirement, requires)))
        assert list(requirements_for(metadata, extras, MARKERS)) == expected


def test_the_key_is_of_all_that_decides(wanted, wheels, tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("wood<2\n")
    plain = wanted(wheels(requires=["wood", "nails"], extras=["x"]))
    others = [
        wanted(wheels(requires=["wood"])),
        replace(plain, extras=["x"]),
        replace(plain, requirements=["nails"]),
        replace(plain, constraints=constraints),
        replace(plain, pip_arguments=()),
        replace(plain, interpreter=replace(plain.interpreter, identity=("another",))),
    ]
    assert len({needs_of(each).key for each in (plain, *others)}) == 1 + len(others)
    same = wanted(wheels("7.0", requires=["nails", "wood", "saw; extra == 'y'", "axe; sys_platform == 'other'"]))
    assert needs_of(same).key == needs_of(plain).key
    before = needs_of(others[3]).key
    constraints.write_text("wood<3\n")
    assert needs_of(others[3]).key != before


# The store and the arms


def test_two_arms_at_once_over_the_same_dependencies(store, wanted, wheels, tmp_path):
    arms = {}
    for name, version in (("base", "1.0"), ("head", "2.0")):
        wheel = wheels(version, requires=["wood<2", "nails"])
        dependencies = store.dependencies(wanted(wheel), ENVIRON)
        assert "house" not in dependencies.packages
        arms[name] = install(wheel, tmp_path / f"arm's {name}", dependencies, ENVIRON)
    base, head = arms["base"], arms["head"]
    assert (base.reused, head.reused) == (False, True)
    assert len(environments(store)) == 1
    assert len(store.said) == 1
    assert "installing the dependencies of house (once, kept in" in store.said[0]
    assert (base.distribution, base.version, head.version) == ("house", "1.0", "2.0")
    assert base.packages == {"house": "1.0", "nails": "1.0", "wood": "1.0"}
    assert head.packages == {"house": "2.0", "nails": "1.0", "wood": "1.0"}
    for arm in (base, head):
        words = "house.VERSION, house.__file__, wood.VERSION, wood.__file__"
        said = run(arm, "-c", f"import house, wood, hidden_nails; print({words}, sep='|')")
        version, file, wood, wood_file = said.split("|")
        assert (version, wood) == (arm.version, "1.0")
        assert Path(file).is_relative_to(arm.folder)
        assert Path(wood_file).is_relative_to(store.folder)
        assert Path(file).parent.joinpath("__pycache__").is_dir(), "no sample compiles"
        assert Path(wood_file).parent.joinpath("__pycache__").is_dir()
        script = subprocess.run([arm.scripts / "house"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert script.stdout == f"house {arm.version}\n"


def test_changed_dependencies_are_another_environment(store, wanted, wheels):
    first = store.dependencies(wanted(wheels("1.0", ["wood<2"])), ENVIRON)
    second = store.dependencies(wanted(wheels("1.0", ["wood>=2"])), ENVIRON)
    again = store.dependencies(wanted(wheels("1.1", ["wood<2"])), ENVIRON)
    assert (first.reused, second.reused, again.reused) == (False, False, True)
    assert (first.packages["wood"], second.packages["wood"]) == ("1.0", "2.0")
    assert again.folder == first.folder != second.folder


def test_extras_requirements_and_constraints_are_installed(store, wanted, wheels, tmp_path):
    (tmp_path / "constraints.txt").write_text("wood==1.0\n")
    wheel = wheels(requires=["wood; extra == 'walls'"], extras=["walls"])
    made = store.dependencies(
        wanted(wheel, extras=["walls"], requirements=["nails"], constraints=tmp_path / "constraints.txt"), ENVIRON
    )
    assert made.packages == {"nails": "1.0", "wood": "1.0"}


def test_packages_on_the_callers_path_do_not_count_as_installed(store, wanted, wheels, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(write_wheel(tmp_path / "elsewhere", "wood")) as archive:
        archive.extractall(elsewhere)
    made = store.dependencies(wanted(wheels()), ENVIRON | {"PYTHONPATH": str(elsewhere)})
    assert made.packages["wood"] == "2.0"


def test_a_dependency_that_is_not_there_is_a_build_error_and_leaves_nothing(store, wanted, wheels):
    with pytest.raises(BuildError, match=r"house(.|\n)*No matching distribution found for bricks"):
        store.dependencies(wanted(wheels(requires=["bricks"])), ENVIRON)
    assert environments(store) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"requirements": ["--index-url=x"]}, "not a requirement"),
        ({"requirements": [" "]}, "not a requirement"),
        ({"constraints": Path("/nowhere/constraints.txt")}, "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_a_message(store, wanted, wheels, options, match):
    with pytest.raises(BenchError, match=match):
        store.dependencies(wanted(wheels(), **options), ENVIRON)


def test_a_store_that_cannot_be_used_is_a_message(wanted, wheels, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="Choose another folder"):
        Store(tmp_path / "file" / "store").dependencies(wanted(wheels()), ENVIRON)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"packages": 1, "site_packages": "x"}'])
def test_what_is_half_made_is_not_used(store, wanted, wheels, content):
    wanted_here = wanted(wheels())
    half = store.folder / f"dependencies-{needs_of(wanted_here).key}-{0:08}"
    (half / "lib").mkdir(parents=True)
    if content is not None:
        (half / "ready.json").write_text(content)
    made = store.dependencies(wanted_here, ENVIRON)
    assert (made.folder != half, made.reused, made.packages["wood"]) == (True, False, "2.0")
    again = Store(store.folder).dependencies(wanted_here, ENVIRON)
    assert (again.folder, again.reused) == (made.folder, True)


def test_rebuild_makes_each_environment_again_once_beside_what_others_use(store, wanted, wheels, index):
    wheel = wheels()
    first = store.dependencies(wanted(wheel), ENVIRON)
    write_wheel(index, "wood", "3.0")
    rebuilding = Store(store.folder, rebuild=True)
    made = [rebuilding.dependencies(wanted(wheel), ENVIRON) for _ in range(2)]
    assert [(each.reused, each.packages["wood"]) for each in made] == [(False, "3.0"), (True, "3.0")]
    assert (first.folder / "ready.json").exists()
    assert store.dependencies(wanted(wheel), ENVIRON).packages["wood"] == "2.0", "both arms of a gate get the same"
    assert Store(store.folder).dependencies(wanted(wheel), ENVIRON).packages["wood"] == "3.0", "the newest"


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
