"""What a program calls around the model: construct, start, ask for state and metadata."""

import pytest

from loader import LoadingStrategy, OptimizedEmbeddingLoader, ResourceProfile
from tests.benchmarks.conftest import wait_for_load_threads
from tests.conftest import MINILM

pytestmark = pytest.mark.real_model


@pytest.fixture
def loader():
    """A loader that has not begun to load."""
    return OptimizedEmbeddingLoader(MINILM)


@pytest.fixture(scope="module")
def loaded():
    """A loader that has loaded."""
    loader = OptimizedEmbeddingLoader(MINILM)
    loader.load(timeout=None)
    wait_for_load_threads()
    return loader


@pytest.mark.benchmark(group="constructor")
class TestConstructor:
    @pytest.mark.parametrize("strategy", [LoadingStrategy.LAZY, LoadingStrategy.PROGRESSIVE], ids=lambda s: s.value)
    def test_construct(self, benchmark, strategy):
        loader = benchmark(OptimizedEmbeddingLoader, MINILM, strategy)
        assert (loader.model_name, loader.strategy) == (MINILM, strategy)

    def test_get_instance_again(self, benchmark):
        first = OptimizedEmbeddingLoader.get_instance(MINILM)
        assert benchmark(OptimizedEmbeddingLoader.get_instance, MINILM) is first


@pytest.mark.benchmark(group="start_loading")
class TestStartLoading:
    def test_lazy(self, benchmark, loader):
        benchmark(loader.start_loading)
        assert not loader.is_loading()
        assert not loader.is_loaded()

    def test_background(self, benchmark):
        """The call alone: the load that it starts is waited for outside of the timing."""
        begun = []

        def construct():
            begun.append(OptimizedEmbeddingLoader(MINILM, LoadingStrategy.BACKGROUND))
            return (begun[-1],), {}

        def end_load(loader):
            loader.load(timeout=60)
            wait_for_load_threads()

        start = OptimizedEmbeddingLoader.start_loading
        benchmark.pedantic(start, setup=construct, teardown=end_load, rounds=50, warmup_rounds=3)
        end_load(begun[-1])  # where benchmarks are disabled, nothing is torn down
        assert all(loader.is_loaded() for loader in begun)


@pytest.mark.benchmark(group="metadata")
class TestMetadata:
    def test_get_metadata_of_new_object(self, benchmark):
        metadata = benchmark(lambda: OptimizedEmbeddingLoader(MINILM).get_metadata())
        assert (metadata.embedding_dim, metadata.max_seq_length) == (384, 256)

    def test_get_metadata_again(self, benchmark, loader):
        assert benchmark(loader.get_metadata).embedding_dim == 384

    def test_get_metadata_loaded(self, benchmark, loaded):
        assert benchmark(loaded.get_metadata).embedding_dim == 384

    def test_get_embedding_dim_fast_again(self, benchmark, loader):
        assert benchmark(loader.get_embedding_dim_fast) == 384

    def test_get_embedding_dim_fast_from_table(self, benchmark, own_cache, monkeypatch, tmp_path):
        """A model that is well known and not on this machine."""
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
        loader = OptimizedEmbeddingLoader("sentence-transformers/all-mpnet-base-v2")
        assert benchmark(loader.get_embedding_dim_fast) == 768


@pytest.mark.benchmark(group="state")
class TestState:
    @pytest.mark.parametrize(("name", "value"), [("is_loading", False), ("is_loaded", False), ("get_error", None)])
    def test_not_loaded(self, benchmark, loader, name, value):
        assert benchmark(getattr(loader, name)) is value

    @pytest.mark.parametrize(("name", "value"), [("is_loading", False), ("is_loaded", True), ("get_error", None)])
    def test_loaded(self, benchmark, loaded, name, value):
        assert benchmark(getattr(loaded, name)) is value

    def test_get_provider_of_loaded(self, benchmark, loaded):
        assert benchmark(loaded.get_provider) is loaded.load()


@pytest.mark.benchmark(group="resources")
def test_detect_resources(benchmark):
    profile = benchmark(ResourceProfile.detect)
    assert profile.cpu_count >= 1
    assert profile.available_memory_mb > 0
