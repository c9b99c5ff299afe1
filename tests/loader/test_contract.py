"""What every strategy promises with every engine, on the real MiniLM. New rows are picked up from the tables."""

import itertools

import numpy as np
import pytest

from loader import (
    ArgumentTypeError,
    ArgumentValueError,
    EmbeddingProvider,
    LoadingStrategy,
    OptimizedEmbeddingLoader,
    TextError,
)
from loader.engines import ENGINES
from loader.loading.stages import STAGES
from loader.provider import DEFAULT_BATCH_SIZE
from loader.strategies import STRATEGIES
from tests.conftest import MINILM, combinations, few_combinations
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative

pytestmark = pytest.mark.real_model

INSTALLED = [spec.name for spec in ENGINES if not spec.missing()]


@pytest.fixture(
    scope="module", params=representative(few_combinations(), [(pair,) for pair in combinations()]), ids="-".join
)
def loaded(request, artifacts):
    """A loader of each strategy and engine, with its model loaded."""
    strategy, engine = request.param
    loader = OptimizedEmbeddingLoader(MINILM, strategy, "cpu", engine=engine)
    loader.load(timeout=None)
    return loader


@pytest.fixture
def contract(loaded):
    return loaded.load()


def test_the_tables_are_complete():
    assert set(STRATEGIES) == set(LoadingStrategy)
    assert {stage for spec in STRATEGIES.values() for stage in spec.stages} == set(STAGES)
    assert INSTALLED, "the test environment has no engine"


def test_the_loader_says_what_it_holds(loaded):
    provider = loaded.get_provider()
    assert isinstance(provider, EmbeddingProvider)
    assert loaded.is_loaded()
    assert not loaded.is_loading()
    assert loaded.get_error() is None
    assert loaded.get_load_time() > 0
    assert provider.engine == loaded.engine
    assert provider.precision == STRATEGIES[loaded.strategy].precision
    assert (provider.device, provider.dimension, provider.max_seq_length) == ("cpu", 384, 256)
    assert loaded.get_metadata().embedding_dim == loaded.get_embedding_dim_fast() == 384
    assert loaded.wait_for_provider(1) is loaded.load() is provider


def test_vectors_have_the_promised_form(contract):
    texts = varied_texts(40)
    single, batch = contract.embed_query(texts[0]), contract.embed_batch(texts, batch_size=7)
    assert single.shape == contract.embed_chunk(texts[0]).shape == (384,)
    assert batch.shape == (40, 384)
    for vectors in (single[None], batch):
        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_a_text_has_one_vector_whatever_is_beside_it(contract):
    texts = varied_texts(30)
    alone = np.stack([contract.embed_chunk(text) for text in texts])
    for size in (7, DEFAULT_BATCH_SIZE):
        together = contract.embed_batch(texts, batch_size=size)
        assert np.min(np.sum(alone * together, axis=1)) >= 0.99999
    queries = np.stack([contract.embed_query(text) for text in texts])
    assert np.min(np.sum(alone * queries, axis=1)) >= 0.99999, "this model declares no prompts"


def test_any_iterable_is_a_batch(contract):
    expected = contract.embed_batch(["a", "b"])
    for texts in (("a", "b"), iter(["a", "b"]), {"a": 1, "b": 2}, (t for t in "ab"), np.array(["a", "b"])):
        assert np.allclose(contract.embed_batch(texts), expected, atol=1e-6)
    assert contract.embed_batch([]).shape == (0, 384)
    assert contract.embed_batch([]).dtype == np.float32


def test_a_stream_is_lazy_ordered_and_endless(contract):
    texts = varied_texts(50)
    read = []

    def endless():
        for text in itertools.cycle(texts):
            read.append(text)
            yield text

    stream = contract.embed_stream(endless(), batch_size=4)
    assert read == [], "nothing is read before the first vector is wanted"
    vectors = list(itertools.islice(stream, 70))
    assert len(read) <= 72
    expected = contract.embed_batch((texts * 2)[:70])
    assert np.min(np.sum(np.stack(vectors) * expected, axis=1)) >= 0.99999
    assert all(vector.shape == (384,) and vector.base is None for vector in vectors)
    assert list(contract.embed_stream([])) == []


def test_a_stream_yields_what_came_before_an_error(contract):
    def broken():
        yield "fine"
        yield "also fine"
        raise RuntimeError("the source broke")

    for texts, error in (
        (["fine", "also fine", None], ArgumentTypeError),
        (["fine", "also fine", "\ud800", "never read"], TextError),
        (broken(), RuntimeError),
    ):
        stream = contract.embed_stream(texts)
        assert next(stream).shape == next(stream).shape == (384,)
        with pytest.raises(error):
            next(stream)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["list"], "\ud800", "x\udfffy"], ids=ascii)
def test_one_rule_for_texts_in_all_methods(contract, bad):
    error = TextError if isinstance(bad, str) else ArgumentTypeError
    for call in (
        lambda: contract.embed_query(bad),
        lambda: contract.embed_chunk(bad),
        lambda: contract.embed_batch(["fine", bad]),
        lambda: list(contract.embed_stream(["fine", bad])),
    ):
        with pytest.raises(error):
            call()
    with pytest.raises(error, match=r"texts\[1\]"):
        contract.embed_batch(["fine", bad])


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00", "word " * 5_000, "x" * 20_000], ids=lambda t: ascii(t[:6]))
def test_empty_blank_and_endless_texts_are_texts(contract, text):
    vectors = [
        contract.embed_query(text),
        contract.embed_chunk(text),
        contract.embed_batch([text, "other"])[0],
        next(contract.embed_stream([text, "other"])),
    ]
    assert all(np.isclose(np.linalg.norm(vector), 1.0, atol=1e-6) for vector in vectors)
    assert min(float(vector @ vectors[0]) for vector in vectors) >= 0.99999


def test_a_single_string_is_no_batch(contract):
    for call in (contract.embed_batch, contract.embed_stream):
        with pytest.raises(ArgumentTypeError, match="embed_query"):
            call("one text")
    for call in (contract.embed_batch, contract.embed_stream):
        with pytest.raises(ArgumentValueError, match="batch_size"):
            call(["a"], batch_size=0)


def test_str_subclasses_are_texts(contract):
    class Name(str):
        __slots__ = ()

    assert contract.embed_query(Name("database")) @ contract.embed_query("database") >= 0.99999


def test_warming_up_changes_nothing(contract):
    before = contract.embed_query("database")
    contract.warm_up()
    assert np.array_equal(contract.embed_query("database"), before)


def test_many_threads_embed_at_once(contract):
    from concurrent.futures import ThreadPoolExecutor

    texts = varied_texts(32)
    expected = contract.embed_batch(texts)
    with ThreadPoolExecutor(16) as pool:
        vectors = np.stack(list(pool.map(contract.embed_query, texts)))
    assert np.min(np.sum(vectors * expected, axis=1)) >= 0.99999
