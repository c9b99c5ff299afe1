"""From text to vector with a loaded model, by engine and by plain sentence-transformers, in one thread."""

import numpy as np
import pytest

from loader import cosine_similarity
from tests.benchmarks.conftest import SHORT, TEXTS

pytestmark = pytest.mark.real_model

ENGINES = pytest.mark.parametrize("engine", ["numpy", "onnx", "sentence_transformers"])
MANY = [f"{SHORT} Question {number} of many." for number in range(32)]


def agree(mine, theirs):
    return mine.shape == theirs.shape and np.abs(mine - theirs).max() < 1e-5


@pytest.mark.parametrize("text", TEXTS)
class TestOneText:
    @pytest.fixture(autouse=True)
    def group(self, benchmark, text):
        benchmark.group = f"embed one text, {'short' if text is SHORT else 'long'}"

    @ENGINES
    def test_embed_query(self, benchmark, provider_of, reference, text, engine):
        assert agree(benchmark(provider_of(engine).embed_query, text), reference.encode(text))

    def test_plain_sentence_transformers(self, benchmark, reference, provider_of, text):
        assert agree(benchmark(reference.encode, text), provider_of("numpy").embed_query(text))


@pytest.mark.benchmark(group="embed 32 texts")
class TestManyTexts:
    @ENGINES
    def test_embed_batch(self, benchmark, provider_of, reference, engine):
        assert agree(benchmark(provider_of(engine).embed_batch, MANY), reference.encode(MANY))

    def test_plain_sentence_transformers(self, benchmark, reference, provider_of):
        assert agree(benchmark(reference.encode, MANY), provider_of("numpy").embed_batch(MANY))


@pytest.mark.benchmark(group="compare vectors")
def test_cosine_similarity(benchmark):
    left, right = np.random.default_rng(1).standard_normal((2, 384), dtype=np.float32)
    expected = np.dot(left, right) / np.linalg.norm(left) / np.linalg.norm(right)
    assert benchmark(cosine_similarity, left, right) == pytest.approx(float(expected), abs=1e-6)
