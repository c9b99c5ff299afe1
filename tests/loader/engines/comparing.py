"""Comparing an engine's vectors with those of plain sentence-transformers."""

import random

import numpy as np

from loader import OptimizedEmbeddingLoader
from loader.engines.onnx import MANY_TEXTS
from tests.support.texts_corpus import varied_texts
from tests.support.tiny_models import LITERAL_SPECIALS, edit_json, unit

TEXTS = [*varied_texts(200), *LITERAL_SPECIALS, "", "long " * 3000, "x" * 3000, "é" * 500]
TOLERANCE = 2e-6
"""Largest difference of a number of a unit vector: rounding, at most some dozen units in the last place."""


def numpy_provider(folder):
    return OptimizedEmbeddingLoader(str(folder), "lazy", "cpu", engine="numpy").load(timeout=None)


def assert_equal(provider, plain, texts=TEXTS, *, singles=10):
    """The vectors are those of the plain model, in batches of any size and alone; return the largest difference."""
    expected = unit(plain.encode_document(texts))
    largest = 0.0
    for size in (1, 7, 64):
        some = texts if size == 64 else texts[::5]
        wanted = expected if size == 64 else expected[::5]
        vectors = provider.embed_batch(some, batch_size=size)
        assert vectors.shape == wanted.shape
        largest = max(largest, float(np.max(np.abs(vectors - wanted))))
    for text, vector in list(zip(texts, expected, strict=True))[:: len(texts) // singles]:
        largest = max(largest, float(np.max(np.abs(provider.embed_chunk(text) - vector))))
    for text in texts[:: len(texts) // 4]:
        difference = provider.embed_query(text) - unit(plain.encode_query(text))
        largest = max(largest, float(np.max(np.abs(difference))))
    assert largest <= TOLERANCE
    return largest


def in_json(*names, **values):
    return lambda folder: edit_json(folder, *names, **values)


def opened(folder, engine, precision="float32"):
    """Return the provider of a prepared folder, which must need nothing from anywhere else."""
    strategy = "quantized" if precision == "int8" else "cached"
    provider = OptimizedEmbeddingLoader(str(folder), strategy, "cpu", engine=engine).load(timeout=None)
    assert (provider.engine, provider.precision) == (engine, precision)
    return provider


def least_invariance(provider, texts):
    """Return the least cosine of a text's vector alone with those of it among others, in any order and number."""
    alone = np.stack([provider.embed_chunk(text) for text in texts])
    least = 1.0
    for size in (2, MANY_TEXTS - 1, MANY_TEXTS, 64, len(texts)):
        order = random.Random(size).sample(range(len(texts)), len(texts))
        together = np.concatenate(
            [provider.embed_batch([texts[i] for i in order[at : at + size]], size) for at in range(0, len(order), size)]
        )
        least = min(least, float(np.min(np.sum(alone[order] * together, axis=1))))
    return least
