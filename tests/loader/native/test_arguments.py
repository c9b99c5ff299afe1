"""Whatever the kernel is given, it computes or raises: no call reads memory that is not its own."""

import array
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader._native import VARIANTS, Encoder, Places, find_last, normalise, top_k, widen
from tests.loader.native.models import Random, computed


def changed(arguments, place, value):
    """Return the arguments with one part, at some depth, replaced."""
    if not place:
        return value
    first, *rest = place
    parts = list(arguments)
    parts[first] = changed(parts[first], rest, value)
    return type(arguments)(parts)


def floats(*shape):
    return np.ones(shape, np.float32)


BAD_BUFFERS = {
    "empty": np.empty(0, np.float32),
    "one number": floats(1),
    "not contiguous": floats(64, 64)[:, ::2],
    "too long": floats(4096),
    "no buffer": 5,
    "text": "weights",
}
PLACES = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0, 0), (2, 0, 1), (2, 1, 8), (2, 0, 10), (2, 0, 12), (2, 1, 15)]
PLACES += [(3, 1, 0, 0), (3, 1, 0, 1)]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("value", BAD_BUFFERS.values(), ids=BAD_BUFFERS)
def test_buffers_of_the_wrong_size(place, value):
    arguments = Random(dense=((8, "tanh", True),)).arguments()
    if place in {(1, 0), (1, 1)} and isinstance(value, np.ndarray) and value.size == 4096:
        Encoder(*changed(arguments, place, value))  # a table of 128 rows
        return
    with pytest.raises((ValueError, TypeError)):
        Encoder(*changed(arguments, place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((0,), (1, 2, 3)),
        ((0,), None),
        ((0, 0), 0),
        ((0, 0), -32),
        ((0, 0), 2**40),
        ((0, 0), "32"),
        ((0, 1), 5),
        ((0, 2), 2**31 - 1),
        ((0, 3), "swish"),
        ((0, 3), None),
        ((0, 4), 0.0),
        ((0, 4), float("nan")),
        ((0, 4), "small"),
        ((0, 5), -1),
        ((0, 5), 2**70),
        ((1,), ()),
        ((2,), [1]),
        ((2, 0), ()),
        ((2, 0), tuple(range(16))),
        ((2, 0, 0), (np.ones(1, np.int8),)),
        ((2, 0, 0), (np.ones((32, 32), np.int8), floats(31))),
        ((2, 0, 0), (np.ones((32, 31), np.int8), floats(32))),
        ((3,), ()),
        ((3, 0), ()),
        ((3, 0), ("mean",) * 9),
        ((3, 0), ("median",)),
        ((3, 1), (1,)),
        ((3, 1), ((floats(8, 32), None),)),
        ((3, 1), ((floats(8, 31), None, "tanh"),)),
        ((3, 1), ((floats(8, 32), None, "swish"),)),
    ],
)
def test_other_wrong_arguments(place, value):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        Encoder(*changed(Random().arguments(), place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((1, 2), floats(4)),
        ((1, 3), floats(4)),
        ((1, 5), floats(32)),
        ((2,), Random(width=4).arguments()[2]),
        ((3, 0), ("cls",)),
        ((1, 0), floats(0)),
    ],
)
def test_a_table_alone_has_nothing_else(place, value):
    table = ((4, 1, 1, "identity", 1e-12, None), (floats(9, 4), *[None] * 5), (), (("mean",), ()))
    Encoder(*table)
    with pytest.raises(ValueError, match=r"a model without positions|a table is empty"):
        Encoder(*changed(table, place, value))


@pytest.mark.parametrize("kind", ["F16", "BF16"])
@pytest.mark.parametrize("is_static", [True, False])
def test_a_table_of_16_bits_is_the_same_table(kind, is_static):
    halves = np.arange(0x3C00, 0x3C00 + 9 * 32, dtype=np.uint16).tobytes()
    wide = np.frombuffer(widen(halves, kind), np.float32).reshape(9, 32)
    if is_static:
        arguments = ((32, 1, 1, "identity", 1e-12, None), (wide, *[None] * 5), (), (("mean",), ()))
    else:
        arguments = changed(Random(width=32).arguments(), (1, 0), wide)
    texts = [[0, 8, 3], [5]]
    narrow = Encoder(*changed(arguments, (1, 0), (halves, kind))).encode(texts)
    assert narrow == Encoder(*arguments).encode(texts)


@pytest.mark.parametrize(
    "table",
    [(b"", "F16"), (bytes(63), "F16"), (bytes(66), "BF16"), (bytes(64), "F64"), (bytes(64), "F16", "F16"), (5, "F16")],
    ids=repr,
)
def test_what_is_no_table_of_16_bits(table):
    with pytest.raises((ValueError, TypeError)):
        Encoder(*changed(Random(width=32).arguments(), (1, 0), table))
    misaligned = memoryview(bytes(65))[1:]
    with pytest.raises(ValueError, match="aligned"):
        Encoder(*changed(Random(width=32).arguments(), (1, 0), (misaligned, "F16")))


def test_a_misaligned_buffer():
    arguments = Random().arguments()
    moved = memoryview(bytearray(32 * 32 * 4 + 1))[1:]
    with pytest.raises(ValueError, match="query is not aligned"):
        Encoder(*changed(arguments, (2, 0, 0), moved))


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**40])
def test_threads_out_of_range(threads):
    with pytest.raises(ValueError, match="threads"):
        Random().kernel(threads)


def test_an_unknown_instruction_set():
    for variant in ("", "sse9", "AVX2"):
        with pytest.raises(ValueError, match="this processor or this build has no"):
            Random().kernel(variant=variant)
    assert {Random().kernel(variant=variant).variant for variant in VARIANTS} == set(VARIANTS)
    assert Random().kernel().variant == VARIANTS[0]


def test_an_encoder_that_was_not_initialised_or_twice():
    bare = Encoder.__new__(Encoder)
    assert bare.dimension == 0
    kernel = Random().kernel()
    with pytest.raises(ValueError, match="twice"):
        kernel.__init__(*Random().arguments())
    half = Encoder.__new__(Encoder)
    with pytest.raises(ValueError, match="layers"):
        half.__init__(*changed(Random().arguments(), (2,), [1]))
    for encoder in (bare, half):
        with pytest.raises(ValueError, match="not initialised"):
            encoder.encode([[1]])
        with pytest.raises(ValueError, match="not initialised"):
            encoder.touch()


@pytest.mark.parametrize(
    "texts",
    [None, 5, "text", (1, 2), [1], ["ab"], [(1,)], [[1.5]], [[None]], [["a"]], [[-1]], [[50]], [[2**40]], [[2**80]]],
    ids=str,
)
def test_wrong_texts(texts):
    with pytest.raises((ValueError, TypeError)):
        Random().kernel().encode(texts)


def test_texts_longer_than_the_positions():
    for kind, longest in (("bert", 40), ("roberta", 38)):
        kernel = Random(kind).kernel()
        assert len(kernel.encode([[2] * longest])) == 4 * 32
        with pytest.raises(ValueError, match="positions"):
            kernel.encode([[2] * (longest + 1)])


class Number:
    """Something that could become a number, by Python code that could change the lists meanwhile."""

    def __index__(self):
        return 1


def test_only_numbers_are_numbers():
    with pytest.raises(TypeError):
        Random().kernel().encode([[1, Number()]])
    assert Random().kernel().encode([[True]]) == Random().kernel().encode([[1]])


def test_weights_live_as_long_as_the_encoder():
    model = Random()
    arguments = model.arguments()
    weight = bytearray(arguments[2][0][0].tobytes())
    before = sys.getrefcount(weight)
    kernel = Encoder(*changed(arguments, (2, 0, 0), weight))
    with pytest.raises(BufferError):
        weight.clear()
    given_texts = model.texts([4])
    assert np.array_equal(computed(kernel, given_texts), computed(model.kernel(), given_texts))
    del kernel
    weight.clear()
    assert sys.getrefcount(weight) == before
    with pytest.raises(ValueError, match="key"):
        Encoder(*changed(changed(arguments, (2, 0, 0), other := bytearray(4096)), (2, 0, 2), floats(1)))
    other.clear()


# ---- The functions beside the encoder ----


@given(st.integers(1, 40), st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=120))
def test_normalise(dimension, numbers):
    rows = np.array(numbers[: len(numbers) // dimension * dimension], np.float32).reshape(-1, dimension)
    data = bytearray(rows.tobytes())
    bad = normalise(data, dimension)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    zero = np.flatnonzero(lengths == 0.0)
    assert bad == (zero[0] if len(zero) else -1)
    found = np.frombuffer(data, np.float32).reshape(-1, dimension)
    some = lengths > 0.0
    assert np.allclose(found[some], rows[some] / lengths[some, None], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_normalise_finds_what_is_not_finite(value):
    rows = floats(3, 4)
    rows[1, 2] = value
    assert normalise(bytearray(rows.tobytes()), 4) == 1


def test_normalise_refuses_other_sizes():
    for vectors, dimension in ((bytearray(12), 2), (bytearray(3), 1), (bytearray(8), 0), (bytearray(8), -1)):
        with pytest.raises(ValueError, match="dimension"):
            normalise(vectors, dimension)
    with pytest.raises(TypeError):
        normalise(bytes(8), 2)


def test_widen_every_half():
    halves = np.arange(2**16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        wanted = halves.view(np.float16).astype(np.float32)
    found = np.frombuffer(widen(halves, "F16"), np.float32)
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(found), np.signbit(wanted))
    upper = np.frombuffer(widen(halves, "BF16"), np.uint32)
    assert np.array_equal(upper, halves.astype(np.uint32) << 16)


def test_widen_refuses_the_rest():
    for data, kind in ((b"abc", "F16"), (b"ab", "F32"), (b"ab", "")):
        with pytest.raises(ValueError, match=r"half|type"):
            widen(data, kind)
    for data, kind in (("ab", "F16"), (b"ab", None)):
        with pytest.raises(TypeError):
            widen(data, kind)


@given(st.data())
def test_find_last(data):
    letters = st.sampled_from(b'ab"\\\0')
    text = bytes(data.draw(st.lists(letters, max_size=600)))
    piece = bytes(data.draw(st.lists(letters, min_size=1, max_size=6)))
    for prefix in (b"", b"x" * 1000):
        start = data.draw(st.integers(0, len(prefix) + len(text)))
        assert find_last(prefix + text, piece, start) == (prefix + text).rfind(piece, start)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(1, 40))
def test_find_last_of_what_is_there(text, start, size):
    piece = text[start : start + size]
    if piece:
        assert find_last(text, piece, 0) == text.rfind(piece)


def test_find_last_beyond_the_end():
    assert find_last(b"abc", b"a", 4) == -1
    assert find_last(b"abc", b"a", -1) == -1
    assert find_last(b"", b"a", 0) == -1


@pytest.mark.parametrize(
    ("query", "vectors", "k"), [(b"", b"", 1), (b"abc", b"abc", 1), (bytes(8), bytes(12), 1), (bytes(8), bytes(16), -1)]
)
def test_top_k_refuses(query, vectors, k):
    with pytest.raises(ValueError, match="sizes"):
        top_k(query, vectors, k)


def test_unusual_buffers():
    """Anything that holds bytes will do."""
    numbers = array.array("f", [1.0, 0.0, 0.0, 1.0])
    assert top_k(array.array("f", [0.0, 1.0]), memoryview(numbers), 1) == [(1, 1.0)]


pieces = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=6)


@given(st.lists(pieces, max_size=30))
def test_places_of_strings(listed):
    """The last place of each, as a search from the end finds it, if it looks only where strings begin."""
    text, last = "{", {}
    for number, piece in enumerate(listed):
        quoted = json.dumps(piece, ensure_ascii=False)
        last[quoted] = len(text.encode())
        text += f"{quoted}:{number},"
    places = Places(text.encode(), 0)
    for quoted, place in last.items():
        assert places.find(quoted.encode()) == place
    assert places.find(b'"not there"') == -1


def test_places_of_what_is_no_vocabulary():
    for text, start in ((b'{"a', 0), (b'{"a\\"', 0), (b'"a"', 0), (b"", 1), (b"", -1)):
        with pytest.raises(ValueError, match=r"strings|start"):
            Places(text, start)
    assert Places(b"", 0).find(b'"a"') == -1
    assert Places.__new__(Places).find(b'"a"') == -1
    with pytest.raises(TypeError):
        Places(b"", 0).find("a")
    made = Places(b'{"a":1}', 0)
    with pytest.raises(ValueError, match="twice"):
        made.__init__(b"{}", 0)
