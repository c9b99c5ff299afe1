"""Shared fixtures: a clean environment for every test, real processes, and the real MiniLM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

# Read by huggingface_hub when it is imported: no test may wait for a network that is not there.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Two test processes with as many PyTorch threads as processors each spend most of their time waiting for each other.
os.environ["OMP_NUM_THREADS"] = "1"
for _name in ("SENTENCE_TRANSFORMERS_HOME", "TRANSFORMERS_OFFLINE", "EMBEDDING_LOADER_CACHE", "CUDA_VISIBLE_DEVICES"):
    os.environ.pop(_name, None)
# No test but those of prepared tokenizers should leave processes behind that prepare some.
os.environ["EMBEDDING_LOADER_TOKENIZER"] = "library"

# What a caller has ignored, as nohup and a shell's & do, stays ignored in all children: those tests would wait for
# ever.
for _name, _handler in (
    ("SIGINT", signal.default_int_handler),
    ("SIGTERM", signal.SIG_DFL),
    ("SIGHUP", signal.SIG_DFL),
):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _handler)

pytest_plugins = ["tests.support.tiers"]
pytest.register_assert_rewrite(
    "tests.support", "tests.bench", "tests.loader.engines.comparing", "tests.loader.service.services"
)

ROOT = Path(__file__).resolve().parent.parent
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    out: str
    err: str

    def json(self):
        """The last line of the output, parsed."""
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory):
    """A cache folder of the loader that all processes of this test session share."""
    folder = tmp_path_factory.mktemp("loader-cache")
    os.environ["EMBEDDING_LOADER_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def session_runtime():
    """A folder for the sockets of model services; services that tests have left running end with the session."""
    folder = Path(tempfile.mkdtemp(prefix="oel-", dir="/tmp"))  # short: a socket's path has 107 bytes
    os.environ["EMBEDDING_LOADER_RUNTIME"] = str(folder)
    yield folder
    stop_services(folder)
    shutil.rmtree(folder, ignore_errors=True)


def stop_services(folder):
    """End the services whose sockets are in a folder; kill those that do not answer."""
    if not any(folder.glob("*.sock")):
        return
    environment = {**os.environ, "EMBEDDING_LOADER_RUNTIME": str(folder)}
    subprocess.run(
        [sys.executable, "-m", "loader", "stop", "--force", "--timeout", "5"], env=environment, timeout=60, check=False
    )


@pytest.fixture(scope="session")
def artifacts(session_cache, minilm_folder):
    """The real MiniLM, prepared with both precisions in the session's cache."""
    from loader import compile_model

    return {precision: Path(compile_model(MINILM, precision)) for precision in ("float32", "int8")}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, session_cache, session_runtime):
    """Give each test the same environment, and forget process-wide loaders afterwards."""
    monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(session_cache))
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(session_runtime))
    yield
    if "loader.core" in sys.modules:
        sys.modules["loader.core"].OptimizedEmbeddingLoader.reset()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of this test alone (not created)."""
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(folder))
    return folder


@pytest.fixture
def python(tmp_path, tmp_path_factory):
    """Run code, or arguments, in a fresh Python in another folder: ``python(code, *argv, env={...})``.

    It has a folder for temporary files of its own, and so no lock in common with other tests.
    """
    temporary = tmp_path_factory.mktemp("temporary")

    def run(code: str | None = None, *argv: str, env=None, timeout: float = 120, stdin: str = "") -> Finished:
        # A pytest in there is none of the processes of this one: pytest-benchmark would time nothing.
        left_out = {"PYTHONDONTWRITEBYTECODE", "PYTEST_XDIST_WORKER"}
        environ = {key: value for key, value in os.environ.items() if key not in left_out}
        environ |= {"TMPDIR": str(temporary)} | (env or {})
        environ = {key: value for key, value in environ.items() if value is not None}
        words = ["-c", code, *argv] if code is not None else list(argv)
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            env=environ,
            cwd=tmp_path,
            timeout=timeout,
            input=stdin,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


def combinations():
    """Return every strategy with every installed engine that can serve it, as pairs of names."""
    from loader.engines import ENGINES
    from loader.strategies import STRATEGIES

    return [
        (strategy, spec.name)
        for strategy, row in STRATEGIES.items()
        for spec in ENGINES
        if not spec.missing() and row.precision in spec.precisions
    ]


def few_combinations():
    """Return some of ``combinations()``: each strategy with its first engine, and each engine at each precision."""
    from loader.strategies import STRATEGIES

    firsts: dict[object, tuple[str, str]] = {}
    for strategy, engine in combinations():
        firsts.setdefault(strategy, (strategy, engine))
        firsts.setdefault((engine, STRATEGIES[strategy].precision), (strategy, engine))
    return list(dict.fromkeys(firsts.values()))


@pytest.fixture(scope="session")
def minilm_folder():
    """The folder of the real MiniLM on this machine."""
    from loader.model.source import resolve

    return Path(resolve(MINILM, allow_download=False).path)


@pytest.fixture(scope="session")
def provider(minilm_folder):
    """A provider of the real MiniLM, shared by all tests of this process."""
    from loader import OptimizedEmbeddingLoader

    return OptimizedEmbeddingLoader(MINILM).load(timeout=None)


@pytest.fixture
def tiny_model(tmp_path):
    """A folder with the files of a model and weights of the right structure that no engine can load."""
    return make_model_folder(tmp_path / "tiny-model")


def make_model_folder(folder: Path, *, dimension: int = 8, weights: bytes | None = None) -> Path:
    """Write a small, structurally valid model folder."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8, "max_position_embeddings": 32}')
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": dimension, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "model.safetensors").write_bytes(safetensors_bytes() if weights is None else weights)
    return folder


def safetensors_bytes(tensors: int = 2, floats: int = 16) -> bytes:
    """Return a valid safetensors file of zeros."""
    size = floats * 4
    header = {
        f"t{index}": {"dtype": "F32", "shape": [floats], "data_offsets": [index * size, (index + 1) * size]}
        for index in range(tensors)
    }
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + bytes(tensors * size)


def install_in_hub_cache(root: Path, repo_id: str, revision: str = "a" * 40) -> Path:
    """Lay a tiny model out in a hub cache and return its snapshot folder."""
    repo = root / f"models--{repo_id.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(revision)
    return make_model_folder(repo / "snapshots" / revision)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Make tiny models that engines can load: ``tiny_folder(Tiny(...))`` returns a folder, one per description."""
    folders: dict[str, str] = {}

    def make(tiny) -> str:
        key = repr(tiny)
        if key not in folders:
            folders[key] = tiny.save(tmp_path_factory.mktemp("tiny") / tiny.family)
        return folders[key]

    return make


@pytest.fixture
def changed(tmp_path):
    """Copy a model folder, apply ``change(folder)`` to the copy, and return its path."""

    def make(source: str | Path, change) -> str:
        folder = tmp_path / "changed"
        shutil.copytree(source, folder, symlinks=False)
        change(folder)
        return str(folder)

    return make
