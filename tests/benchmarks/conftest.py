"""What the micro-benchmarks measure on: the real MiniLM in one thread, a short text, and one that fills the model."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import MINILM

SHORT = "How do I open a connection pool, and when does it time out?"
LONG = " ".join(
    f"Item {number}: the pool opens a connection, lends it to a request and takes it back when that has ended."
    for number in range(40)
)
"""More tokens than the model reads, so that it is truncated."""
TEXTS = [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long")]
LOAD_THREAD = "embedding-loader:"


def pytest_benchmark_update_machine_info(config, machine_info):
    """Keep the machine's name out of the saved results."""
    machine_info.pop("node", None)


def wait_for_load_threads():
    """Wait until no thread of a load runs any more."""
    for thread in threading.enumerate():
        # One waits for the end of a service that a test has started: no load, and as long as that lives.
        if thread.name.startswith(LOAD_THREAD) and not thread.name.endswith(":service"):
            thread.join(60)
            assert not thread.is_alive(), thread.name


@pytest.fixture(scope="session")
def reference(minilm_folder):
    """Plain sentence-transformers; it computes in one thread, as ``tests.conftest`` has set for PyTorch."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import torch

    assert torch.get_num_threads() == 1
    return sentence_transformers.SentenceTransformer(str(minilm_folder), device="cpu")


@pytest.fixture(scope="session")
def provider_of(request):
    """Make providers by engine: ``provider_of("numpy")``. One thread each, to be comparable; one of each is made."""
    from loader import LoadingStrategy, OptimizedEmbeddingLoader
    from loader.engines import ENGINES

    made = {}

    def make(engine):
        (spec,) = (spec for spec in ENGINES if spec.name == engine)
        if spec.missing():
            pytest.skip(f"engine {engine} needs {', '.join(spec.missing())}")
        if engine not in made:
            if engine == "onnx":
                request.getfixturevalue("artifacts")
            loader = OptimizedEmbeddingLoader(MINILM, LoadingStrategy.LAZY, "cpu", engine=engine, threads=1)
            made[engine] = loader.load(timeout=None)
            assert made[engine].engine == engine
            wait_for_load_threads()
        return made[engine]

    return make
