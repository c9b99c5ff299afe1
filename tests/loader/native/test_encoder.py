"""The kernel computes what the engine numpy computes, on every instruction set, alone and in any company."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader._native import VARIANTS, Encoder
from tests.loader.native.models import Random, computed, unit

NEAR = 2e-6
"""The largest difference of two numbers of normalised vectors."""

models = st.tuples(st.integers(1, 6), st.sampled_from([1, 3, 8, 16, 20])).flatmap(
    lambda shape: st.builds(
        Random,
        kind=st.sampled_from(["bert", "distilbert", "roberta", "mpnet"]),
        width=st.just(shape[0] * shape[1]),
        heads=st.just(shape[0]),
        inner=st.integers(1, 90),
        layers=st.integers(1, 2),
        activation=st.sampled_from(["gelu", "gelu_tanh", "relu"]),
        pooling=st.lists(
            st.sampled_from(["cls", "max", "mean", "mean_sqrt_len_tokens"]), min_size=1, max_size=3, unique=True
        ).map(tuple),
        dense=st.lists(
            st.tuples(st.integers(1, 40), st.sampled_from(["identity", "tanh", "relu", "gelu"]), st.booleans()),
            max_size=2,
        ).map(tuple),
        seed=st.integers(0, 2**32 - 1),
    )
)
texts = st.lists(st.integers(1, 37), min_size=1, max_size=6)


def near(found, wanted, bound):
    """Whether vectors point the same way; a Dense layer may leave nothing of one, then both are nothing."""
    lengths = np.linalg.norm(wanted, axis=1)
    some = lengths > 1e-3
    assert np.all(np.abs(found[~some] - wanted[~some]) < 1e-4)
    return not np.any(some) or float(np.abs(unit(found[some]) - unit(wanted[some])).max()) < bound


@pytest.mark.parametrize("variant", VARIANTS)
@given(model=models, lengths=texts)
@settings(deadline=None, max_examples=60)
def test_any_shape(variant, model, lengths):
    """Of any width, odd ones included. The bound is wider here: a vector of a few numbers may be short, and where two
    numbers are nearly the same, normalising them makes a difference of the last bits a large one.
    """
    given_texts = model.texts(lengths)
    bound = 5 * NEAR if model.width >= 8 else 1e-3
    assert near(computed(model.kernel(variant=variant), given_texts), model.reference(given_texts), bound)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("kind", ["bert", "distilbert", "mpnet", "roberta"])
def test_each_family(variant, activation, kind):
    model = Random(kind, width=64, heads=4, inner=96, activation=activation, positions=300, size=0.3)
    given_texts = model.texts([1, 2, 3, 4, 7, 16, 17, 33, 64, 128, 200])
    found, wanted = unit(computed(model.kernel(variant=variant), given_texts)), unit(model.reference(given_texts))
    assert np.abs(found - wanted).max() < NEAR


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "mean_sqrt_len_tokens"])
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "gelu"])
def test_each_pooling_and_head(variant, pooling, activation):
    model = Random(pooling=(pooling, "mean"), dense=((48, activation, True), (20, "identity", False)), size=0.3)
    given_texts = model.texts([1, 5, 20])
    found, wanted = unit(computed(model.kernel(variant=variant), given_texts)), unit(model.reference(given_texts))
    assert found.shape == (3, 20)
    assert np.abs(found - wanted).max() < NEAR


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("width", [24, 32, 37, 96])
def test_alone_in_a_batch_and_with_threads_to_the_last_bit(variant, width):
    """Also where other sizes of blocks are used: from 1 token to more than a thousand."""
    model = Random("mpnet" if width == 96 else "bert", width=width, heads=1, inner=3 * width, positions=300)
    given_texts = model.texts([1, 2, 5, 11, 48, 97, 200, 3, 3, 250, 6, 250, 250])
    alone = np.concatenate([computed(model.kernel(variant=variant), [text]) for text in given_texts])
    for threads in (1, 2, 5):
        kernel = model.kernel(threads, variant)
        assert np.array_equal(computed(kernel, given_texts), alone)
        assert np.array_equal(computed(kernel, given_texts[::-1]), alone[::-1])
        assert np.array_equal(computed(kernel, given_texts[8:10]), alone[8:10])


@pytest.mark.parametrize("lengths", [[250, 135], [250, 140], [250, 250, 7]])
@pytest.mark.parametrize("threads", [50, 64, 200])
def test_more_threads_than_blocks_of_tokens(threads, lengths):
    model = Random(width=32, layers=2, positions=300)
    given_texts = model.texts(lengths)
    alone = np.concatenate([computed(model.kernel(), [text]) for text in given_texts])
    assert np.array_equal(computed(model.kernel(threads), given_texts), alone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_table_alone_gives_the_mean_of_its_rows(variant):
    table = np.random.default_rng(0).normal(size=(50, 33)).astype(np.float32)
    kernel = Encoder((33, 1, 1, "identity", 1e-12, None), (table, *[None] * 5), (), (("mean",), ()), 2, variant)
    texts = [[3], [], [0, 49, 7], [1] * 5000]
    found = np.frombuffer(kernel.encode(texts), np.float32).reshape(4, 33)
    wanted = [table[text].mean(axis=0, dtype=np.float64) if text else np.zeros(33) for text in texts]
    assert np.max(np.abs(found - wanted)) <= 1e-6
    with pytest.raises(ValueError, match="no token with the number 50"):
        kernel.encode([[50]])


def test_texts_without_tokens_are_zero():
    model = Random(dense=((8, "identity", True),))
    some, none = model.texts([3, 0])
    vectors = computed(model.kernel(), [none, some, none])
    assert not vectors[[0, 2]].any()
    assert np.array_equal(vectors[1:2], computed(model.kernel(), [some]))
    assert model.kernel().encode([]) == b""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e-42, -0.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_unusual_weights(variant, value):
    """What is not finite with NumPy is not finite here, and nothing else."""
    model = Random(pooling=("mean", "max"))
    model.weights[0][10][3, 5] = value
    with np.errstate(all="ignore"):
        wanted = model.reference(given_texts := model.texts([3, 9]))
    found = computed(model.kernel(variant=variant), given_texts)
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
    if np.isfinite(wanted).all():
        assert np.abs(unit(found) - unit(wanted)).max() < NEAR


def cosines(found, wanted):
    return np.sum(unit(found) * unit(wanted), axis=1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "mpnet", "roberta"])
def test_eight_bits(variant, kind):
    """Integers times integers. A number on the edge between two integers may become either of them."""
    model = Random(kind, width=96, heads=4, inner=160, positions=300, size=0.3).in_8_bits()
    given_texts = model.texts([1, 2, 3, 4, 5, 6, 7, 8, 9, 30, 120, 250])
    found = computed(model.kernel(variant=variant), given_texts)
    assert cosines(found, model.reference(given_texts)).min() >= 0.99999
    assert cosines(found, computed(model.kernel(variant=VARIANTS[-1]), given_texts)).min() >= 0.999999


@pytest.mark.parametrize("variant", VARIANTS)
@given(model=models, lengths=texts)
@settings(deadline=None, max_examples=40)
def test_any_shape_in_8_bits(variant, model, lengths):
    model = model.in_8_bits()
    given_texts = model.texts(lengths)
    found, wanted = computed(model.kernel(variant=variant), given_texts), model.reference(given_texts)
    some = np.linalg.norm(wanted, axis=1) > 1e-2
    assert np.all(np.abs(unit(found[some]) - unit(wanted[some])) < 0.1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("width", [24, 37, 96])
def test_eight_bits_alone_in_a_batch_and_with_threads_to_the_last_bit(variant, width):
    model = Random("bert", width=width, heads=1, inner=3 * width, positions=300).in_8_bits()
    given_texts = model.texts([1, 2, 3, 4, 5, 7, 8, 9, 13, 40, 95, 96, 97, 130, 200, 250])
    kernel = model.kernel(variant=variant)
    alone = np.concatenate([computed(kernel, [text]) for text in given_texts])
    for threads in (1, 2, 3):
        assert np.array_equal(computed(model.kernel(threads, variant), given_texts), alone)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_eight_bits_of_what_is_no_number(variant, number):
    """A bias that is no number leaves no vector, as in float32."""
    model = Random(width=32, layers=1).in_8_bits()
    layer = list(model.weights[0])
    layer[7] = np.full_like(layer[7], number)
    model.weights = (tuple(layer),)
    assert not np.isfinite(computed(model.kernel(variant=variant), model.texts([5]))).any()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e18])
def test_eight_bits_of_tiny_and_enormous_numbers(variant, size):
    """What is written over the gain of the first normalisation decides how large the numbers are."""
    model = Random(width=32, layers=1).in_8_bits()
    words, positions, token_type, gain, shift, bias = model.embeddings
    model.embeddings = (words, positions, token_type, gain * np.float32(size), shift * np.float32(size), bias)
    given_texts = model.texts([1, 6])
    found, wanted = computed(model.kernel(variant=variant), given_texts), model.reference(given_texts)
    assert cosines(found, wanted).min() >= 0.9999


def test_many_threads_at_once():
    model = Random(width=96, heads=4, inner=200, positions=300)
    given_texts = model.texts([200, 3, 150, 1] * 3)
    kernel = model.kernel(threads=3)
    wanted = computed(kernel, given_texts)
    failures = []

    def work():
        failures.extend(1 for _ in range(20) if not np.array_equal(computed(kernel, given_texts), wanted))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
