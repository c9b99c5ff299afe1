"""Nearest neighbours: the same with the kernel and without, from whatever holds the numbers."""

import array
import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loader import ArgumentTypeError, ArgumentValueError, top_k
from loader import similarity as module

numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.nan, np.inf, -np.inf])
matrices = st.tuples(st.integers(0, 40), st.integers(1, 70)).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=numbers), arrays(np.float32, shape[1], elements=numbers))
)


def by_definition(query, rows, k):
    """Return what Python's sort makes of the products, which are exact for such numbers."""
    with np.errstate(all="ignore"):
        products = [float(np.sum(row * query, dtype=np.float64).astype(np.float32)) for row in rows]
    order = sorted((-product, index) for index, product in enumerate(products) if product == product)
    return [(index, -product) for product, index in order[:k]]


@pytest.fixture(params=["kernel", "numpy"], scope="module")
def find(request):
    if request.param == "kernel":
        pytest.importorskip("loader._native")
        return top_k
    return lambda query, rows, k: module._top_k_by_numpy(
        memoryview(np.ascontiguousarray(query)), memoryview(np.ascontiguousarray(rows)), k
    )


@given(data=matrices, k=st.integers(1, 50))
def test_any_numbers(find, data, k):
    rows, query = data
    assert find(query, rows, k) == by_definition(query, rows, k)


def test_real_vectors(find):
    """Of every length; the same rows in whatever order have the same products, to the last bit."""
    random = np.random.default_rng(3)
    for width in (1, 3, 4, 5, 16, 31, 32, 33, 64, 100, 384, 1000):
        rows = random.standard_normal((700, width)).astype(np.float32)
        query = random.standard_normal(width).astype(np.float32)
        found = find(query, rows, 20)
        products = rows.astype(np.float64) @ query.astype(np.float64)
        assert [index for index, _ in found] == list(np.argsort(-products, kind="stable")[:20])
        assert np.allclose([product for _, product in found], np.sort(products)[::-1][:20], rtol=1e-4, atol=1e-4)


def test_equal_rows_have_equal_products():
    pytest.importorskip("loader._native")
    row = np.random.default_rng(5).standard_normal(100).astype(np.float32)
    found = top_k(row, np.tile(row, (1000, 1)), 1000)
    assert [index for index, _ in found] == list(range(1000))
    assert len({product for _, product in found}) == 1


def test_what_holds_the_numbers(tmp_path):
    rows = np.random.default_rng(1).standard_normal((50, 12)).astype(np.float32)
    query = rows[7].copy()
    wanted = top_k(query, rows, 3)
    assert wanted[0][0] == 7
    path = tmp_path / "vectors"
    path.write_bytes(b"123" + rows.tobytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with memoryview(mapped) as whole, whole[3:] as unaligned:
            assert top_k(query.tobytes(), unaligned, 3) == wanted
        memmap = np.memmap(path, "<f4", "r", 3, rows.shape)
        assert top_k(query, memmap, 3) == wanted
        del memmap
    columns = np.asfortranarray(rows)
    for one, many in (
        (query.tobytes(), rows.tobytes()),
        (bytearray(query.tobytes()), memoryview(rows)),
        (array.array("f", query), array.array("f", rows.ravel())),
        (query.astype(np.float64), rows.astype(np.float64)),
        (query, columns),
        (np.repeat(query, 2)[::2], np.repeat(rows, 2, axis=0)[::2]),
        (query.astype(">f4"), rows.astype(">f4")),
    ):
        assert top_k(one, many, 3) == wanted


def test_no_rows_and_few_rows():
    assert top_k(bytes(8), b"", 5) == []
    assert top_k(np.ones(2, np.float32), np.empty((0, 2), np.float32), 5) == []
    assert top_k(np.ones(2, np.float32), np.ones((2, 2), np.float32), 5) == [(0, 2.0), (1, 2.0)]


@pytest.mark.parametrize(
    ("query", "vectors", "k", "error", "message"),
    [
        (bytes(8), bytes(8), 0, ArgumentValueError, "k must be at least 1"),
        (bytes(8), bytes(8), True, ArgumentTypeError, "k must be an integer"),
        (bytes(8), bytes(8), 1.0, ArgumentTypeError, "k must be an integer"),
        (bytes(8), bytes(12), 1, ArgumentValueError, "do not match"),
        (b"", bytes(12), 1, ArgumentValueError, "do not match"),
        (bytes(7), bytes(8), 1, ArgumentValueError, "whole number"),
        (bytes(8), np.ones((2, 4), np.float32), 1, ArgumentValueError, "do not match"),
        (np.ones((1, 2), np.float32), bytes(8), 1, ArgumentValueError, "at most 1 dimensions"),
        (bytes(8), np.ones((1, 1, 2), np.float32), 1, ArgumentValueError, "at most 2 dimensions"),
        (bytes(8), np.ones((2, 2), np.int8), 1, ArgumentTypeError, "floating-point numbers, not int8"),
        (array.array("d", [1.0]), bytes(8), 1, ArgumentTypeError, "float32"),
        ([1.0, 2.0], bytes(8), 1, ArgumentTypeError, "bytes or an array, not list"),
        (bytes(8), None, 1, ArgumentTypeError, "bytes or an array, not NoneType"),
        ("text", bytes(8), 1, ArgumentTypeError, "bytes or an array, not str"),
    ],
)
def test_wrong_arguments(query, vectors, k, error, message):
    with pytest.raises(error, match=message):
        top_k(query, vectors, k)


def test_it_imports_no_numpy(python):
    pytest.importorskip("loader._native")
    code = "import sys; from loader import top_k; print(top_k(bytes(8), bytes(16), 1), 'numpy' in sys.modules)"
    assert python(code).out == "[(0, 0.0)] False\n"
