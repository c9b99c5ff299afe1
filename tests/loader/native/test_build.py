"""Building the kernel: what is needed, what happens without it, and that no install fails because of it."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from loader.encoder.native import build as module
from loader.encoder.native.build import BuildError, build, find_compiler
from loader.engines.native import ABI
from tests.conftest import ROOT

HAS_COMPILER = any(map(shutil.which, ("cc", "gcc", "clang")))
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs a C compiler")


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_where_there_is_no_compiler(monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BuildError, match="there is no C compiler"):
        find_compiler()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name)
    assert find_compiler() == [sys.executable, "-m", "ziglang", "cc"]
    gcc = program(tmp_path / "gcc", "exit 0")
    assert find_compiler() == [gcc]
    monkeypatch.setenv("CC", "ccache 'my cc'")
    assert find_compiler() == ["ccache", "my cc"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "message"),
    [("exit 3", "exit code 3"), ("echo 'x.c:1: error: no such thing' >&2; exit 1", "error: no such thing")],
)
def test_a_compiler_that_fails(tmp_path, text, message):
    """What was there before is still there, and nothing else."""
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "_native.abi3.so"
    output.write_text("before")
    with pytest.raises(BuildError, match=message):
        build(output, compiler=[program(tmp_path / "cc", text)])
    with pytest.raises(BuildError, match=r"cannot|No such file"):
        build(output, compiler=[str(tmp_path / "nothing")])
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_text() == "before"


def test_without_the_headers_of_python(tmp_path, monkeypatch):
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(BuildError, match=r"headers are missing: there is no .*Python\.h"):
        build(tmp_path / "out", compiler=["cc"])


@needs_compiler
@pytest.mark.process
def test_it_builds_a_module_that_loads(tmp_path, python):
    """Without a warning: they are errors here."""
    output = build(tmp_path / "_native.abi3.so", flags=("-Werror",))
    assert list(tmp_path.iterdir()) == [output]
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("loader._native", {str(output)!r})
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
print(kernel.ABI, kernel.VARIANTS[-1])
"""
    assert python(code).out == f"{ABI} baseline\n"


@needs_compiler
@pytest.mark.process
def test_the_command_line(tmp_path, python):
    done = python(None, "-m", "loader.encoder.native.build", "--output", str(tmp_path / "kernel.so"))
    assert (done.code, done.out) == (0, f"{tmp_path / 'kernel.so'}\n")
    done = python(None, "-m", "loader.encoder.native.build", "--compiler", "false", "--output", str(tmp_path / "x"))
    assert (done.code, done.err) == (1, "error: false failed: exit code 1\n")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["false", None], ids=["none", "any"])
def test_a_wheel_is_made_in_any_case(tmp_path, compiler):
    """A wheel for any machine without the kernel, or one for this machine with it."""
    if compiler is None and not HAS_COMPILER:
        pytest.skip("needs a C compiler")
    environment = {**os.environ, **({"CC": compiler} if compiler else {})}
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "loader/encoder/native/lanes.c" in names
    if compiler:
        assert "The engine native is left out: false failed" in done.stdout + done.stderr
        assert wheel.name.endswith("-py3-none-any.whl")
        assert not [name for name in names if name.endswith((".so", ".pyd"))]
    else:
        assert "-cp311-abi3-" in wheel.name
        assert len([name for name in names if name.endswith((".so", ".pyd"))]) == 1
