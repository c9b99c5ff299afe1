"""``make wheels``: the table of wheels, and that each check finds what it is for."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("packaging.tags", reason="needs packaging (extra wheels)")

from packaging.tags import parse_tag

from loader.encoder.native.build import HERE, module_path
from loader.encoder.native.wheels import __main__ as program_module
from loader.encoder.native.wheels import arm64, checking
from loader.encoder.native.wheels.checking import check_contents, check_symbols, check_vector
from loader.encoder.native.wheels.making import WheelError, make_wheel, run
from loader.encoder.native.wheels.targets import TARGETS, Target
from tests.conftest import ROOT

LINUX, ARM, PURE = TARGETS[0], TARGETS[1], TARGETS[-1]
MUSL = next(target for target in TARGETS if "musl" in target.platform)


@pytest.fixture
def audited():
    """Skip where wheels cannot be made."""
    for name in ("ziglang", "auditwheel", "build", "hatchling"):
        pytest.importorskip(name, reason=f"needs {name} (extra wheels)")


def made_up(folder, target, *names):
    path = folder / f"optimized_embedding_loader-1.0-{target.tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("loader/__init__.py", *names):
            archive.writestr(name, "")
    return path


def test_the_wheels_differ_and_one_is_for_all():
    tags = [tag for target in TARGETS for tag in parse_tag(target.tag)]
    assert len(tags) == len(set(tags))
    assert [target.tag for target in TARGETS if target.zig == "none"] == ["py3-none-any"]
    for target in TARGETS:
        if target.zig != "none":
            machine = target.zig.partition("-")[0]
            assert {machine, "amd64" if machine == "x86_64" else "arm64"} & {
                name for tag in parse_tag(target.tag) for name in re.findall("x86_64|aarch64|amd64|arm64", tag.platform)
            }


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.platform)
def test_contents(tmp_path, target):
    names = [] if target is PURE else [f"loader/{module_path(target.zig).name}"]
    check_contents(made_up(tmp_path, target, *names), target)
    for wrong in (["loader/_native.pyd", "loader/_native.abi3.so"], [*names, "bench/other.so"]):
        with pytest.raises(WheelError, match="has the modules"):
            check_contents(made_up(tmp_path, target, *wrong), target)


@pytest.mark.parametrize(
    ("tag", "needed", "platform", "outcome"),
    [
        ("manylinux_2_17_x86_64", [], LINUX, "manylinux_2_17_x86_64"),
        ("manylinux_2_34_x86_64", [], LINUX, WheelError),
        ("linux_x86_64", ["libc.so"], MUSL, "only libc.so"),
        ("linux_x86_64", ["libc.so", "libgomp.so.1"], MUSL, WheelError),
    ],
)
def test_what_auditwheel_says(tmp_path, monkeypatch, tag, needed, platform, outcome):
    answer = {"overall_tag": tag, "external_libs": dict.fromkeys(needed), "versioned_symbols": {"libm.so.6": ["G"]}}
    monkeypatch.setattr(checking, "run", lambda command: json.dumps(answer))
    if outcome is WheelError:
        with pytest.raises(WheelError, match="needs"):
            check_symbols(tmp_path / "any.whl", platform)
    else:
        assert check_symbols(tmp_path / "any.whl", platform) == outcome


def test_what_cannot_be_run_is_said(tmp_path, monkeypatch):
    here = "win" if sys.platform == "win32" else "linux"
    other = next(target for target in TARGETS if target is not PURE and here not in target.platform)
    assert check_vector(made_up(tmp_path, other), other, tmp_path).startswith("not run: this machine")
    monkeypatch.setattr(checking, "sys_tags", list)
    monkeypatch.setattr(arm64.shutil, "which", lambda name: None)
    assert "qemu-user" in check_vector(made_up(tmp_path, ARM), ARM, tmp_path)
    monkeypatch.setattr(arm64.shutil, "which", lambda name: name if "qemu" in name else None)
    assert "apt-get" in check_vector(made_up(tmp_path, ARM), ARM, tmp_path)


def test_a_command_that_fails(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="some", stderr="reason")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
    with pytest.raises(WheelError, match="somereason"):
        run(["any"])


def test_one_that_fails_hides_no_other(tmp_path, monkeypatch, capsys):
    sdist = tmp_path / "sources.tar.gz"

    def make_sdist(checkout, folder):
        import tarfile

        with tarfile.open(sdist, "w:gz") as archive:
            archive.add(HERE / "build.py", "sources/build.py")
        return sdist

    def make(sources, target, folder):
        assert (sources / "build.py").exists()
        if target is LINUX:
            raise WheelError("broken")
        return made_up(folder, target)

    monkeypatch.setattr(program_module, "make_sdist", make_sdist)
    monkeypatch.setattr(program_module, "make_wheel", make)
    monkeypatch.setattr(program_module, "check_wheel", lambda *words: checking.Checked("", "not run"))
    monkeypatch.setattr(sys, "argv", ["wheels", "--output", str(tmp_path / "dist")])
    assert program_module.main() == 1
    out = capsys.readouterr().out
    assert "FAILED: broken" in out
    assert out.count("vector: not run") == len(TARGETS) - 1
    monkeypatch.setattr(sys, "argv", ["wheels", "--output", str(tmp_path / "dist"), "--only", "win"])
    assert program_module.main() == 0
    monkeypatch.setattr(sys, "argv", ["wheels", "--only", "amiga"])
    with pytest.raises(SystemExit):
        program_module.main()


def test_what_is_linked_on_windows_is_what_the_kernel_calls():
    """The linker of Windows needs the names; elsewhere they are found when the module is loaded."""
    kernel = pytest.importorskip("loader._native", reason="the kernel is not built: make native")
    if not sys.platform.startswith("linux"):
        pytest.skip("reads the names from a module of Linux")
    called = set(re.findall(r"\0(_?Py\w+)(?=\0)", Path(kernel.__file__).read_bytes().decode("latin-1")))
    called.remove("PyInit__native")
    lines = (HERE / "python3.def").read_text().partition("EXPORTS\n")[2].splitlines()
    listed = {line.split()[0]: "DATA" in line for line in lines}
    assert "PyErr_NoMemory" in called
    assert called <= set(listed)
    for name, is_data in listed.items():
        assert is_data == bool(re.search("^PyExc_|_Type$|Struct$", name)), name


def test_no_argument_depends_on_the_headers_version():
    """With '#', a module that was compiled with the headers of Python 3.13 or newer fails on older ones."""
    formats = re.findall(r'(?:ParseTuple|AndKeywords|BuildValue)\([^"]*"([^"]*)"', (HERE / "module.c").read_text())
    assert len(formats) > 4
    assert not [each for each in formats if "#" in each]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", [LINUX, ARM], ids=lambda target: target.platform)
def test_a_wheel_for_an_old_linux(audited, tmp_path, target):
    wheel = make_wheel(ROOT, target, tmp_path)
    check_contents(wheel, target)
    assert check_symbols(wheel, target).startswith("manylinux_2_17_")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_symbols_that_are_too_new_are_found(audited, tmp_path):
    newer = Target(LINUX.platform, "x86_64-linux-gnu.2.34")
    with pytest.raises(WheelError, match=r"needs manylinux_2_34_x86_64: .*GLIBC_2\.34"):
        check_symbols(make_wheel(ROOT, newer, tmp_path), newer)


@pytest.mark.process
@pytest.mark.slow
def test_a_target_that_cannot_be_compiled_is_an_error(audited, tmp_path):
    """A wheel that is meant for another machine is not made without the kernel."""
    with pytest.raises(WheelError, match="failed"):
        make_wheel(ROOT, Target("any", "z80-cpm"), tmp_path)
    assert os.listdir(tmp_path) == []
