"""``pip install`` with real pip and without an index: no compiler, one, and some that are broken. It never fails."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.loader.native.test_build import needs_compiler, program

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="its packages are linked, which needs rights on Windows"),
]

GARBAGE = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo garbage > "$2"; shift; done'


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with what is installed here, but for this library and a compiler."""
    pytest.importorskip("hatchling", reason="needs hatchling (extra dev)")
    folder = tmp_path_factory.mktemp("packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("ziglang", "optimized_embedding_loader", "_optimized_", "__editable__")):
            (folder / entry.name).symlink_to(entry)
    return folder


class Environment:
    """An environment with packages but without this library, and programs to be found, of which there are none yet."""

    def __init__(self, folder, packages):
        venv.create(folder / "environment", with_pip=False)
        self.python = str(folder / "environment" / "bin" / "python")
        (site,) = (folder / "environment").glob("lib/python*/site-packages")
        (site / "packages.pth").write_text(f"{packages}\n")
        self.site, self.folder, self.programs = site, folder, folder / "programs"
        self.programs.mkdir()

    def run(self, *command, **variables):
        left_out = {"CC", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "KERNEL_TARGET", "KERNEL_PLATFORM"}
        environ = {key: value for key, value in os.environ.items() if key not in left_out}
        environ |= {"PATH": str(self.programs), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environ, timeout=280)

    def install(self, *words, **variables):
        """Install the library from source, and return what pip and the build say."""
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "-v"]
        done = self.run(*pip, "--no-build-isolation", "--no-deps", *words, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def loader(self, *words, **variables):
        """Return what a command of the installed library prints."""
        done = self.run(self.python, "-m", "loader", *words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tag(self):
        (file,) = self.site.glob("optimized_embedding_loader-*.dist-info/WHEEL")
        return message_from_string(file.read_text())["Tag"]

    def modules(self):
        return [path.name for path in (self.site / "loader").glob("_native.*") if path.suffix != ".pyi"]


@pytest.fixture
def environment(tmp_path, packages):
    return Environment(tmp_path, packages)


def lines_about_the_kernel(text):
    return [line for line in text.splitlines() if "native" in line]


@pytest.mark.real_model
def test_without_a_compiler(environment):
    said = environment.install(str(ROOT))
    assert "The engine native is left out: there is no C compiler" in said
    assert (environment.tag(), environment.modules()) == ("py3-none-any", [])
    (line,) = lines_about_the_kernel(environment.loader("doctor"))
    assert line.split("  # ")[0].strip() == "python -m loader.encoder.native.build --ziglang"
    assert len(environment.loader("embed", "database connection")) > 384
    code = """
import logging
from loader import load
logging.basicConfig(level="INFO", format="%(message)s")
print(load("all-MiniLM-L6-v2").embed_query("database connection").shape)
"""
    done = environment.run(environment.python, "-c", code)
    assert done.stdout == "(384,)\n", done.stderr
    (line,) = lines_about_the_kernel(done.stderr)
    assert line.endswith("python -m loader.encoder.native.build")


@needs_compiler
@pytest.mark.real_model
def test_with_a_compiler(environment):
    environment.programs.rmdir()
    environment.programs.symlink_to(Path(shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")).parent)
    environment.install(str(ROOT))
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert (environment.tag(), environment.modules()) == (f"cp311-abi3-{platform}", ["_native.abi3.so"])
    (line,) = lines_about_the_kernel(environment.loader("doctor"))
    assert "compiled for" in line
    assert len(environment.loader("embed", "database connection", "--engine", "native")) > 384


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 1", "failed: exit code 1"),
        (GARBAGE, "what it made does not load: ImportError"),
        ("exit 0", "what it made does not load: ImportError"),
    ],
    ids=["fails", "garbage", "nothing"],
)
def test_a_broken_compiler(environment, text, reason):
    program(environment.programs / "cc", text)
    said = environment.install(str(ROOT))
    (line,) = (line for line in said.splitlines() if "is left out" in line)
    assert reason in line
    assert (environment.tag(), environment.modules()) == ("py3-none-any", [])
    assert "native.build " in environment.loader("doctor")


def test_without_a_kernel_by_choice(environment):
    assert "left out: KERNEL_TARGET is none" in environment.install(str(ROOT), KERNEL_TARGET="none")
    assert environment.tag() == "py3-none-any"


@pytest.fixture
def checkout(tmp_path):
    """A copy of what an installation needs, with a kernel that was built before."""
    folder = tmp_path / "checkout"
    for name in ("loader", "bench", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_native.*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "loader" / "_native.abi3.so").write_text("of another version")
    return folder


def test_an_editable_install_without_a_compiler(environment, checkout):
    """The old module is removed: it might not fit the code."""
    assert "The engine native is left out" in environment.install("-e", str(checkout))
    assert not (checkout / "loader" / "_native.abi3.so").exists()
    assert "native.build --ziglang" in environment.loader("doctor")


@needs_compiler
def test_an_editable_install_with_a_compiler(environment, checkout):
    environment.install("-e", str(checkout), PATH=os.environ["PATH"])
    assert (checkout / "loader" / "_native.abi3.so").read_bytes()[:4] != b"of a"
    assert "compiled for" in environment.loader("doctor")


def test_a_module_in_the_tree_stays_out_of_a_wheel(environment, checkout):
    environment.install(str(checkout))
    assert environment.modules() == []
    assert (checkout / "loader" / "_native.abi3.so").read_text() == "of another version"


@needs_compiler
def test_a_compiler_for_this_once(tmp_path, python):
    """Fetched by pip, here from a folder, and gone afterwards."""
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    with zipfile.ZipFile(tmp_path / "ziglang-1.0-py3-none-any.whl", "w") as wheel:
        info = zipfile.ZipInfo("ziglang/zig")
        info.external_attr = 0o100755 << 16
        wheel.writestr(info, f'#!/bin/sh\n[ "$1" = cc ] && shift && echo used > {tmp_path}/used && exec {real} "$@"\n')
        wheel.writestr("ziglang-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ziglang\nVersion: 1.0\n")
        wheel.writestr("ziglang-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("ziglang-1.0.dist-info/RECORD", "")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ("-m", "loader.encoder.native.build", "--ziglang", "--output", str(tmp_path / "kernel.so"))
    environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "TMPDIR": str(temporary)}
    done = python(None, *words, env=environ)
    assert (done.code, done.out) == (0, f"{tmp_path / 'kernel.so'}\n"), done.err
    assert (tmp_path / "used").exists()
    assert list(temporary.iterdir()) == []
    done = python(None, *words, env=environ | {"PIP_FIND_LINKS": str(temporary)})
    assert done.code == 1
    assert done.err.startswith("error: ziglang cannot be fetched: ERROR: No matching distribution found for ziglang")
