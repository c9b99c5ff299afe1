"""The public surface, and what importing it may cost."""

import ast
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import loader
from bench.data.records import read_records
from loader import LoadingStrategy
from tests.conftest import ROOT

HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "psutil",
    "platformdirs",
)
SLOW_STDLIB = ("json", "logging", "dataclasses", "pathlib", "typing", "re", "inspect", "subprocess", "contextlib")


def test_all_is_sorted_and_every_name_is_there():
    assert loader.__all__ == sorted(loader.__all__)
    assert all(getattr(loader, name) is not None for name in loader.__all__)
    assert set(loader.__all__) <= set(dir(loader))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        loader.nonsense  # noqa: B018


def test_every_public_error_is_exported():
    from loader import errors

    assert set(errors.__all__) <= set(loader.__all__)
    assert errors.__all__ == sorted(errors.__all__)
    for name in errors.__all__:
        assert name in errors.__doc__, f"{name} is missing in the tree"
        assert issubclass(getattr(errors, name), errors.LoaderError)


@pytest.mark.parametrize("strategy", list(LoadingStrategy))
def test_init_path_imports_nothing_heavy(python, strategy):
    code = f"""
import sys
before = set(sys.modules)
from loader import LoadingStrategy, OptimizedEmbeddingLoader
made = OptimizedEmbeddingLoader("all-MiniLM-L6-v2", LoadingStrategy({strategy.value!r}))
if made.strategy == LoadingStrategy.LAZY:
    made.start_loading()
print(" ".join(sorted(set(sys.modules) - before)))
"""
    done = python(code)
    assert done.code == 0, done.err
    imported = {name.partition(".")[0] for name in done.out.split()}
    assert "loader" in imported
    assert not imported & {*HEAVY, *SLOW_STDLIB}


def test_loader_never_imports_upwards():
    forbidden = {"bench", "hydra", "omegaconf", "pandas", "matplotlib", "rich"}
    for path in (ROOT / "loader").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found = {name.partition(".")[0] for name in names} & forbidden
            assert not found, f"{path} imports {found}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment that has the wheel, and the dependencies of this environment but not this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    (site,) = [folder / "Lib" / "site-packages"] if os.name == "nt" else folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Of a folder that a .pth file adds, Python ignores the .pth files, such as that of an editable install.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return interpreter


@pytest.mark.process
def test_the_wheel_holds_two_packages_and_what_they_read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"loader", "bench"}
    assert {"loader/py.typed", "loader/reference.json", "bench/py.typed"} <= set(names)
    assert {f"bench/report/html/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    conf = {f"bench/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert conf == {name for name in names if name.startswith("bench/conf/")}


@pytest.mark.process
def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    classifiers = metadata.get_all("Classifier")
    named = [int(each.rpartition(".")[2]) for each in classifiers if "Python :: 3." in each]
    assert metadata["Requires-Python"] == f">=3.{min(named)}"
    assert named == list(range(min(named), max(named) + 1))
    assert all("://" in each for each in metadata.get_all("Project-URL"))
    assert metadata["License-Expression"] == "MIT"


@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_the_installed_wheel_measures_in_any_folder(installed, tmp_path):
    # A conf.py in the working folder must not get in the way of the configuration.
    (tmp_path / "conf.py").write_text("raise RuntimeError('not this one')")
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def run(*words):
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environ["TMPDIR"] = str(temporary)
        command = [str(installed), *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=280)

    found = run("-P", "-c", "import bench, loader; print(bench.__file__, loader.__file__, sep='\\n')")
    assert found.returncode == 0, found.stderr
    assert all(Path(line).is_relative_to(installed.parents[1]) for line in found.stdout.splitlines())
    assert run("-m", "bench", "--help").returncode == 0
    measured = run("-m", "bench", "strategy=lazy", "run_name=run", "protocol=quick", "protocol.warmup_rounds=0",
                   "protocol.rounds=1", "protocol.max_reruns=0")  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    records = read_records(tmp_path / "reports" / "run" / "records.jsonl")
    assert {record.status for record in records} == {"ok"}
    assert (tmp_path / "reports" / "run" / "report.html").is_file()
