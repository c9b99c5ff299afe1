"""Building revisions."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement

from bench.errors import BuildError
from bench.gate.install.wheels import Metadata, build_wheel, read_metadata
from tests.bench.gate.environments.places import ENVIRON, assert_gone
from tests.bench.gate.tiny_projects import make_project, write_wheel
from tests.conftest import ROOT

pytestmark = pytest.mark.process

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
