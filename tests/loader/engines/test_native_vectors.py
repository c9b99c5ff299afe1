"""The engine native gives the vectors of the engine numpy: read from the same files, on every instruction set."""

import sys

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from loader.engines.native import VARIANT, kernel
from loader.errors import EngineMissingError
from loader.model.known_models import KNOWN_MODELS
from loader.model.source import find
from tests.loader.engines.comparing import TEXTS, TOLERANCE, opened
from tests.loader.engines.test_numpy_vectors import CHOSEN, SAMPLE, described
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative
from tests.support.tiny_models import FAMILIES, Tiny

try:
    VARIANTS = kernel().VARIANTS
except EngineMissingError as error:
    pytest.skip(str(error), allow_module_level=True)

REAL_TEXTS = 2000


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(VARIANT, request.param)
    return request.param


def provider_of(folder, engine, **settings):
    provider = OptimizedEmbeddingLoader(str(folder), "lazy", "cpu", engine=engine, **settings).load(timeout=None)
    assert provider.engine == engine
    return provider


def largest_difference(found, wanted):
    assert found.shape == wanted.shape
    assert np.isfinite(wanted).all()
    return float(np.abs(found - wanted).max())


@pytest.mark.parametrize("tiny", representative(CHOSEN, SAMPLE), ids=described)
def test_vectors_equal_those_of_numpy(tiny, tiny_folder, variant):
    folder = tiny_folder(tiny)
    native, wanted = provider_of(folder, "native"), provider_of(folder, "numpy")
    assert (native.dimension, native.max_seq_length) == (wanted.dimension, wanted.max_seq_length)
    for size in (1, 64):
        some = TEXTS if size == 64 else TEXTS[::7]
        vectors = native.embed_batch(some, batch_size=size)
        assert largest_difference(vectors, wanted.embed_batch(some, batch_size=size)) <= TOLERANCE
    for text in TEXTS[::40]:
        assert largest_difference(native.embed_query(text), wanted.embed_query(text)) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_eight_bits_are_those_of_numpy(family, tiny_folder, prepared, variant):
    """A number on the edge between two integers may become either of them, so vectors are not equal."""
    folder = prepared(tiny_folder(Tiny(family)), "int8")
    native, wanted = opened(folder, "native", "int8"), opened(folder, "numpy", "int8")
    cosines = np.sum(native.embed_batch(TEXTS) * wanted.embed_batch(TEXTS), axis=1)
    assert cosines.min() >= 0.9999
    assert cosines.mean() >= 0.999999


@pytest.mark.real_model
def test_eight_bits_are_the_same_with_every_instruction_set(minilm_folder, prepared, monkeypatch):
    folder = prepared(minilm_folder, "int8")
    vectors = []
    for variant in VARIANTS:
        monkeypatch.setenv(VARIANT, variant)
        vectors.append(opened(folder, "native", "int8").embed_batch(TEXTS))
    for found in vectors[1:]:
        assert np.sum(found * vectors[0], axis=1).min() >= 0.999999


@pytest.mark.parametrize("family", FAMILIES)
def test_alone_in_a_batch_and_with_threads_to_the_last_bit(family, tiny_folder, variant):
    folder = tiny_folder(Tiny(family))
    native = provider_of(folder, "native", threads=1)
    alone = np.stack([native.embed_chunk(text) for text in TEXTS[::3]])
    for threads, size in ((1, 64), (3, 64), (3, 7)):
        assert np.array_equal(provider_of(folder, "native", threads=threads).embed_batch(TEXTS[::3], size), alone)


@pytest.fixture(scope="module", params=KNOWN_MODELS)
def real(request):
    """A real model's folder, texts, and the vectors that NumPy computes of them."""
    found = find(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not on this machine")
    # Mostly short ones: what differs is the kind of text, and long ones take most of the time.
    texts = sorted(varied_texts(3 * REAL_TEXTS, seed=11), key=len)[: REAL_TEXTS - 5]
    texts += sorted(varied_texts(54, seed=12), key=len)[-5:]
    return found.path, texts, provider_of(found.path, "numpy").embed_batch(texts, batch_size=64)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(900)
def test_thousands_of_texts(real, variant, record_property):
    folder, texts, wanted = real
    assert len(texts) == REAL_TEXTS
    differences = np.abs(provider_of(folder, "native").embed_batch(texts, batch_size=64) - wanted).max(axis=1)
    # In a row, mpnet's special tokens are at the limits of float32: NumPy is 1.5e-6 from float64 there, PyTorch 0.4e-6.
    special = np.array(["mpnet" in str(folder) and ("<s>" in text or "</s>" in text) for text in texts])
    largest = float(differences.max())
    record_property("largest_difference", largest)
    print(f"{folder}, {variant}: largest difference {largest:.1e}")
    assert differences[~special].max() <= TOLERANCE
    assert largest <= 2 * TOLERANCE


MAPPED = """
import sys, time
from loader import load
provider = load(sys.argv[1], "lazy", engine="native", threads=int(sys.argv[2]))

def mapped_mib():
    kib, ours = 0, False
    for line in open("/proc/self/smaps"):
        if "-" in line.split()[0]:
            ours = "safetensors" in line or "/blobs/" in line
        elif ours and line.startswith("Rss:"):
            kib += int(line.split()[1])
    return kib / 1024

end = time.monotonic() + 20 * (sys.argv[2] != "1")
while mapped_mib() < 40 and time.monotonic() < end:
    time.sleep(0.01)
print(mapped_mib())
"""


@pytest.mark.real_model
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/smaps")
@pytest.mark.parametrize(("threads", "is_ahead"), [(2, True), (1, False)])
def test_a_thread_reads_the_weights_ahead_of_the_first_text(threads, is_ahead, python, minilm_folder):
    """The layers of MiniLM are 41 MiB; what is read while the model is opened is less than 1."""
    done = python(MAPPED, str(minilm_folder), str(threads))
    assert done.code == 0, done.err
    assert (float(done.out) > 39) == is_ahead
    assert is_ahead or float(done.out) < 5
