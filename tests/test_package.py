"""The public surface, and what importing it may cost."""

import ast
import zipfile

import pytest

import loader
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


def test_wheel_works_from_any_folder(python, tmp_path):
    built = python(None, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / "dist"), str(ROOT), timeout=280)
    assert built.code == 0, built.err
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"loader", "bench", "conf"}
    assert {"loader/py.typed", "loader/reference.json"} <= set(names)
    assert {f"bench/report/html/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    # A conf.py in the working folder must not get in the way of the configuration.
    (tmp_path / "conf.py").write_text("raise RuntimeError('not this one')")
    code = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = ["bench", "--cfg", "job"]
import bench
assert bench.__file__.startswith(sys.path[0]), bench.__file__
runpy.run_module("bench", run_name="__main__")
"""
    done = python(code, str(site))
    assert done.code == 0, done.err
    assert "name: progressive" in done.out
