"""One load however many ask; failures, time-outs and unloading reach everybody."""

import gc
import importlib
import threading
import weakref

import pytest

from loader import (
    EngineMissingError,
    LoaderError,
    LoadingStrategy,
    LoadTimeoutError,
    ModelCorruptError,
    ModelLoadError,
    ModelNotFoundError,
    OptimizedEmbeddingLoader,
    get_embedding_provider,
    preload_embeddings,
)
from loader.loading import stages as stages_module
from tests.conftest import MINILM, make_model_folder
from tests.support.engines import INSTANT

EVERY_STRATEGY = pytest.mark.parametrize("strategy", list(LoadingStrategy))


def ask_from_threads(loader, count=64):
    """Return what ``get_provider`` gave to ``count`` threads that asked at the same moment."""
    barrier = threading.Barrier(count)
    results = []

    def ask():
        barrier.wait()
        results.append(loader.get_provider(timeout=120))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def opened(monkeypatch):
    """Count how often the real engine is opened."""
    calls = []
    engine = importlib.import_module(f"loader.engines.{INSTANT}")
    real = engine.open_engine

    def spy(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(engine, "open_engine", spy)
    return calls


@pytest.fixture
def held(monkeypatch):
    """Hold every load before its engine stage until the event is set; the stage itself stays the real one."""
    event = threading.Event()
    real = stages_module.STAGES["engine"]

    def wait_then_load(load):
        assert event.wait(60)
        real(load)

    monkeypatch.setitem(stages_module.STAGES, "engine", wait_then_load)
    yield event
    event.set()


@pytest.mark.real_model
@EVERY_STRATEGY
def test_64_threads_load_once_and_get_the_same(provider, opened, strategy):
    loader = OptimizedEmbeddingLoader(MINILM, strategy)
    loader.start_loading()
    results = ask_from_threads(loader)
    assert len(results) == 64
    assert len({id(result) for result in results}) == 1
    assert results[0] is not None
    assert len(opened) == 1


@EVERY_STRATEGY
def test_a_failure_reaches_every_waiter(tmp_path, held, strategy):
    loader = OptimizedEmbeddingLoader(str(tmp_path / "nowhere"), strategy)
    loader.start_loading()
    threading.Timer(0.2, held.set).start()
    assert ask_from_threads(loader) == [None] * 64
    assert isinstance(loader.get_error(), ModelNotFoundError)
    with pytest.raises(ModelNotFoundError):
        loader.load()
    assert not loader.is_loading()
    assert not loader.is_loaded()
    assert loader.get_load_time() == 0.0


def test_an_error_that_sticks_does_not_grow(tmp_path):
    loader = OptimizedEmbeddingLoader(str(tmp_path / "nowhere"))
    for _ in range(50):
        assert loader.get_provider() is None
    trace, frames = loader.get_error().__traceback__, 0
    while trace is not None:
        trace, frames = trace.tb_next, frames + 1
    assert frames < 10


@pytest.mark.process
def test_an_engine_that_fails_is_wrapped_with_its_cause(tmp_path):
    loader = OptimizedEmbeddingLoader(str(make_model_folder(tmp_path / "model")))
    with pytest.raises(ModelLoadError, match="sentence_transformers") as caught:
        loader.load(timeout=None)
    assert caught.value.__cause__ is not None


@pytest.mark.process
def test_a_failure_sticks_until_unload(tmp_path):
    folder = make_model_folder(tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1])
    loader = OptimizedEmbeddingLoader(str(folder))
    assert loader.get_provider() is None
    first = loader.get_error()
    (folder / "model.safetensors").write_bytes(weights)
    assert loader.get_provider() is None
    assert loader.get_error() is first
    assert isinstance(first, ModelCorruptError)
    loader.unload()
    assert loader.get_error() is None
    assert loader.get_provider() is None
    assert isinstance(loader.get_error(), ModelLoadError), "now the damage is gone and the engine was asked"


# What a service loads is not held up here; tests/loader/service has what a caller of a slow one sees.
@pytest.mark.real_model
@pytest.mark.parametrize("strategy", [each for each in LoadingStrategy if each is not LoadingStrategy.SERVICE])
def test_a_timed_out_load_goes_on(provider, held, strategy):
    loader = OptimizedEmbeddingLoader(MINILM, strategy)
    loader.start_loading()
    assert loader.get_provider(timeout=0) is None
    assert loader.get_provider(timeout=0.05) is None
    assert isinstance(loader.get_error(), LoadTimeoutError)
    assert isinstance(loader.get_error(), TimeoutError)
    assert loader.is_loading()
    with pytest.raises(LoadTimeoutError, match="goes on"):
        loader.load(timeout=0.01)
    held.set()
    assert loader.get_provider(timeout=60) is not None
    assert loader.get_error() is None


@pytest.mark.real_model
def test_nothing_loads_before_it_should(provider):
    lazy = OptimizedEmbeddingLoader(MINILM, LoadingStrategy.LAZY)
    lazy.start_loading()
    assert not lazy.is_loading()
    assert not lazy.is_loaded()
    for strategy in (LoadingStrategy.BACKGROUND, LoadingStrategy.PROGRESSIVE):
        eager = OptimizedEmbeddingLoader(MINILM, strategy)
        assert not eager.is_loading()
        eager.start_loading()
        eager.start_loading()
        assert eager.is_loading() or eager.is_loaded()
        assert eager.load(timeout=None).dimension == 384


@pytest.mark.real_model
@pytest.mark.parametrize("strategy", ["lazy", "progressive"])
def test_unloading_frees_the_model_once_nobody_holds_it(strategy):
    loader = OptimizedEmbeddingLoader(MINILM, strategy)
    held_provider = loader.load(timeout=None)
    model = weakref.ref(held_provider.engine_in_use)
    loader.unload()
    assert not loader.is_loaded()
    assert loader.get_load_time() == 0.0
    assert held_provider.embed_query("still works").shape == (384,)
    del held_provider
    gc.collect()
    assert model() is None
    assert loader.load(timeout=None).embed_query("and again").shape == (384,)


@pytest.mark.real_model
def test_unloading_during_a_load_lets_it_end_unseen(provider, held):
    loader = OptimizedEmbeddingLoader(MINILM, LoadingStrategy.BACKGROUND)
    loader.start_loading()
    results = []
    waiter = threading.Thread(target=lambda: results.append(loader.get_provider(timeout=60)))
    waiter.start()
    loader.unload()
    assert not loader.is_loading()
    held.set()
    waiter.join(60)
    assert not waiter.is_alive()
    assert not loader.is_loaded()
    assert loader.load(timeout=None).dimension == 384


@pytest.mark.real_model
def test_several_models_at_once(provider, minilm_folder, tmp_path):
    copy = tmp_path / "copy"
    copy.symlink_to(minilm_folder)
    loaders = [OptimizedEmbeddingLoader(name, "background") for name in (MINILM, str(copy), str(tmp_path / "gone"))]
    for loader in loaders:
        loader.start_loading()
    providers = [loader.get_provider(timeout=None) for loader in loaders]
    assert providers[0] is not providers[1]
    assert providers[0].embed_query("x") @ providers[1].embed_query("x") > 0.99999
    assert providers[2] is None


class TestProcessWideInstances:
    def test_one_for_each_model_and_settings(self):
        get = OptimizedEmbeddingLoader.get_instance
        assert get("org/a") is get("org/a")
        assert get("org/a") is not get("org/b")
        assert get("org/a") is not get("org/a", device="cpu")
        assert get("org/a") is not get("org/a", engine="sentence_transformers")
        assert get("org/a") is not get("org/a", threads=1)
        assert get() is get("all-MiniLM-L6-v2")

    def test_another_strategy_takes_effect_before_the_load(self):
        first = OptimizedEmbeddingLoader.get_instance("org/a", "lazy")
        assert first.strategy is LoadingStrategy.LAZY
        again = OptimizedEmbeddingLoader.get_instance("org/a", "background")
        assert again is first
        assert first.strategy is LoadingStrategy.BACKGROUND

    def test_another_strategy_after_the_load_changes_nothing(self, tmp_path):
        name = str(tmp_path / "nowhere")
        loader = preload_embeddings(name, "background")
        assert loader.get_provider() is None
        assert preload_embeddings(name, "progressive") is loader
        assert loader.strategy is LoadingStrategy.BACKGROUND

    @pytest.mark.real_model
    def test_preloading_and_asking(self, provider):
        loader = preload_embeddings(MINILM)
        found = get_embedding_provider(MINILM)
        assert found is loader.load()
        assert get_embedding_provider(MINILM, "lazy") is found

    def test_failure_is_none_with_a_reason(self, tmp_path):
        name = str(tmp_path / "nowhere")
        assert get_embedding_provider(name) is None
        assert isinstance(OptimizedEmbeddingLoader.get_instance(name).get_error(), ModelNotFoundError)

    def test_reset_forgets(self, tmp_path):
        name = str(tmp_path / "nowhere")
        assert get_embedding_provider(name) is None
        before = OptimizedEmbeddingLoader.get_instance(name)
        OptimizedEmbeddingLoader.reset()
        assert before.get_error() is None
        assert OptimizedEmbeddingLoader.get_instance(name) is not before

    def test_64_threads_get_one_instance(self):
        barrier = threading.Barrier(64)
        seen = []

        def ask():
            barrier.wait()
            seen.append(OptimizedEmbeddingLoader.get_instance("org/shared"))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(one) for one in seen}) == 1


def test_a_missing_engine_names_the_extra(python, minilm_folder):
    """In a process that cannot see PyTorch, as where the extra was not installed."""
    code = """
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "torch" else real(name, *rest)
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="sentence_transformers")
print(loader.get_provider(), type(loader.get_error()).__name__, loader.get_error())
"""
    done = python(code, str(minilm_folder))
    assert "None EngineMissingError" in done.out, done.err
    assert "optimized-embedding-loader[torch]" in done.out
    assert issubclass(EngineMissingError, (ImportError, LoaderError))


@pytest.mark.real_model
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_an_absent_device_is_a_typed_error(device):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has such a device")
    loader = OptimizedEmbeddingLoader(MINILM, device=device)
    assert loader.get_provider() is None
    assert type(loader.get_error()).__name__ == "DeviceError"
