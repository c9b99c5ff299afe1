"""The kernel's own tests, with a kernel that notices every wrong access and all undefined behaviour."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loader.encoder.native.build import BuildError, build
from tests.conftest import ROOT

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]

TESTS = ("test_encoder.py", "test_arguments.py")
RUN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("loader._native", sys.argv[1])
import loader
module = sys.modules["loader._native"] = loader._native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import pytest
raise SystemExit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[2:]]))
"""


def runtime(name: str) -> str:
    """Return the path of a sanitizer's library, which must be loaded before anything else."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc and its sanitizers")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if not os.path.isabs(path):
        pytest.skip(f"needs {name} of gcc")
    return path


@pytest.fixture
def checked(tmp_path):
    """Run a program with a kernel compiled with some sanitizers."""

    def run(sanitizers: str, code: str, *arguments: str, libraries: tuple[str, ...]) -> str:
        preloaded = [runtime(name) for name in libraries]
        flags = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
        try:
            module = build(tmp_path / "_native.abi3.so", compiler=["gcc"], flags=flags)
        except BuildError as error:
            pytest.skip(str(error))
        options = {
            "LD_PRELOAD": " ".join(preloaded),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python frees not everything at its end
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(module), *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **options},
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
        return done.stdout

    return run


def test_no_wrong_access_and_no_undefined_behaviour(checked):
    tests = [str(Path(__file__).with_name(name)) for name in TESTS]
    out = checked("address,undefined", RUN, *tests, libraries=("libasan.so", "libubsan.so"))
    assert " passed" in out
    assert "skipped" not in out


def test_the_same_of_splitting_texts(checked):
    test = Path(__file__).parents[1] / "text" / "test_prepared.py"
    chosen = "damaged or long_word or difficult or mixtures or any_text"  # not every character of Unicode again
    out = checked("address,undefined", RUN, str(test), "-k", chosen, libraries=("libasan.so", "libubsan.so"))
    assert " passed" in out
    assert "skipped" not in out


def test_the_sanitizers_are_awake(checked, monkeypatch, tmp_path):
    """A kernel with a mistake ends the process."""
    import loader.encoder.native.build as module

    copy = tmp_path / "sources"
    shutil.copytree(module.HERE, copy)
    text = (copy / "topk.c").read_text()
    wrong = text.replace("? count - first :", "? count - first + 1 :")
    assert wrong != text
    (copy / "topk.c").write_text(wrong)
    monkeypatch.setattr(module, "HERE", copy)
    code = RUN.partition("import pytest")[0] + "module.top_k(bytes(400), bytes(4000), 3)\n"
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        checked("address,undefined", code, libraries=("libasan.so", "libubsan.so"))
