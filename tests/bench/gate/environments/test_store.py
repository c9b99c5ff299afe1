"""Installing dependencies once, and keeping them."""

import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.errors import BenchError, BuildError
from bench.gate.install.dependencies import needs_of
from bench.gate.install.environments import install
from bench.gate.install.store import Store
from bench.gate.install.wheels import Metadata, requirements_for
from bench.measure.tools import pip_environment, run_program
from tests.bench.gate.environments.places import ENVIRON, MARKERS, environments
from tests.bench.gate.tiny_projects import write_wheel

pytestmark = pytest.mark.process


def run(environment, *words):
    done = run_program([str(environment.python), *words], pip_environment(ENVIRON))
    assert done.code == 0, done.errors
    return done.output.strip()


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
