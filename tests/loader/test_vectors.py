"""Vectors as arrays and as bytes: the same numbers, the same errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loader.vectors import as_array, joined, normalised
from tests.support.engines import INSTANT

needs_kernel = pytest.mark.skipif(INSTANT != "native", reason="the kernel is not built: make native")
numbers = st.floats(-(2.0**59), 2.0**59, width=32)  # NumPy's lengths are float32, and finite up to here
rows = st.tuples(st.integers(1, 5), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=numbers)
)


def as_bytes(vectors):
    return bytearray(vectors.tobytes())


@given(rows)
def test_bytes_are_the_array(vectors):
    dimension = vectors.shape[1]
    data = as_bytes(vectors)
    found = as_array(data, dimension)
    assert (found.shape, found.dtype) == (vectors.shape, np.float32)
    assert np.array_equal(found, vectors)
    assert as_array(vectors, dimension) is vectors
    data[:4] = np.float32(7.0).tobytes()
    assert found[0, 0] == 7.0, "a copy"


@needs_kernel
@given(rows)
def test_both_are_normalised_alike(vectors):
    dimension = vectors.shape[1]
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    array, bad_row = normalised(vectors.copy(), dimension)
    data, bad_bytes = normalised(as_bytes(vectors), dimension)
    if np.all(lengths > 1e-15):  # below, the squares of a float32 are none
        assert bad_row is bad_bytes is None
        assert np.allclose(array, vectors / lengths[:, None], rtol=1e-6, atol=1e-7)
        assert np.allclose(as_array(data, dimension), array, rtol=1e-6, atol=1e-7)
    elif np.any(lengths == 0.0):
        assert bad_bytes.is_zero
        assert bad_bytes.index == np.flatnonzero(lengths == 0.0)[0]


@needs_kernel
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -0.0])
@pytest.mark.parametrize("index", [0, 2])
def test_the_first_vector_without_a_direction(value, index):
    vectors = np.ones((3, 4), np.float32)
    vectors[index:] = value
    for given_vectors in (vectors, as_bytes(vectors)):
        with np.errstate(all="ignore"):
            _, bad = normalised(given_vectors, 4)
        assert (bad.index, bad.is_zero) == (index, value == 0.0)


@given(st.lists(rows.map(lambda vectors: vectors.repeat(4, axis=1)[:, :4]), min_size=1, max_size=4), st.data())
def test_runs_in_one_whatever_they_are(parts, data):
    """An engine that was replaced between two runs has left both kinds."""
    mixed = [part if data.draw(st.booleans()) else as_bytes(part) for part in parts]
    assert np.array_equal(as_array(joined(mixed), 4), np.concatenate(parts))
