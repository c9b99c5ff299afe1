"""Safetensors files that lie about themselves or are merely unusual: refused, or read as they are."""

import json
import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import ModelCorruptError, ModelUnsupportedError
from loader.model.safetensors import MAX_HEADER_BYTES, MappedTensors, read_header

pytestmark = pytest.mark.timeout(60)

PER_FUNCTION = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
DATA = bytes(range(1, 33))


def write(path, header, data=DATA):
    """Write a file with this header: an object, or the bytes themselves."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return str(path)


def entry(start, end, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_the_control_is_read(path):
    tensors = MappedTensors([write(path, {"__metadata__": {"format": "pt"}, "a": entry(0, 16), "b": entry(16, 32)})])
    assert tensors.names == {"a", "b"}
    assert tensors.floats("b").tobytes() == DATA[16:]


LIES = {
    "range beyond the file": {"a": entry(0, 16), "b": entry(16, 36)},
    "all beyond the file": {"a": entry(0, 32), "b": entry(32, 64)},
    "range of 2**60": {"a": entry(0, 2**60, [2**58])},
    "range of 10**30": {"a": entry(0, 10**30, [10**30 // 4])},
    "file longer than described": {"a": entry(0, 16)},
    "nothing described": {},
    "overlap": {"a": entry(0, 20), "b": entry(16, 32)},
    "same range twice": {"a": entry(0, 32), "b": entry(0, 32)},
    "hole": {"a": entry(0, 12), "b": entry(16, 32)},
    "hole at the start": {"a": entry(4, 32)},
    "negative start": {"a": entry(-4, 28)},
    "end before start": {"a": entry(0, 32), "b": {"dtype": "F32", "shape": [0], "data_offsets": [32, 28]}},
    "negative dimensions": {"a": entry(0, 32, [-2, -4])},
    "shape too large for the range": {"a": entry(0, 32, [9])},
    "shape too small for the range": {"a": entry(0, 32, [7])},
    "wrong dtype": {"a": entry(0, 32, [8], "F16")},
    "unknown dtype": {"a": entry(0, 32, [8], "F31")},
    "dtype of the wrong type": {"a": entry(0, 32, [8], ["F32"])},
    "dtype null": {"a": entry(0, 32, [8], None)},
    "no dtype": {"a": {"shape": [8], "data_offsets": [0, 32]}},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 32]}},
    "no range": {"a": {"dtype": "F32", "shape": [8]}},
    "three offsets": {"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 16, 32]}},
    "bool as a number": {"a": entry(0, 32, [8, True])},
    "bool as an offset": {"a": {"dtype": "F32", "shape": [8], "data_offsets": [False, 32]}},
    "float as a number": {"a": entry(0, 32, [8.0])},
    "float as an offset": {"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32.0]}},
    "infinity": {"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, float("inf")]}},
    "not a number": {"a": entry(0, 32, [float("nan")])},
    "text as a number": {"a": entry(0, 32, ["8"])},
    "text as a shape": {"a": entry(0, 4, ""), "b": entry(4, 32)},
    "object as a shape": {"a": entry(0, 4, {}), "b": entry(4, 32)},
    "object as a range": {"a": {"dtype": "F32", "shape": [8], "data_offsets": {"0": 0, "32": 32}}},
    "null as a shape": {"a": {"dtype": "F32", "shape": None, "data_offsets": [0, 32]}},
    "nine dimensions": {"a": entry(0, 32, [1] * 8 + [8])},
    "a product beyond all memory, times zero": {"a": entry(0, 0, [2**40, 2**40, 0]), "b": entry(0, 32)},
    "a list": [entry(0, 32)],
    "a number": 32,
    "a list of a list": {"a": [entry(0, 32)]},
    "deep nesting": b'{"a":' * 100_000,
    "deep nesting in the metadata": b'{"__metadata__":' + b"[" * 200_000,
    "not UTF-8": b'{"\xff": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}',
    "UTF-16": json.dumps({"a": entry(0, 32)}).encode("utf-16"),
    "UTF-32": json.dumps({"a": entry(0, 32)}).encode("utf-32-le"),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps({"a": entry(0, 32)}).encode(),
    "a number of 5000 digits": b'{"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, ' + b"9" * 5000 + b"]}}",
    "duplicate tensors": b'{"a": %(a)s, "a": %(a)s}' % {b"a": json.dumps(entry(0, 32)).encode()},
    "duplicate fields": b'{"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32], "shape": [8]}}',
    "cut off": b'{"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}',
    "something behind it": b'{"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}} {}',
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_headers_that_lie(path, lie):
    written = write(path, lie)
    with pytest.raises(ModelCorruptError, match="damaged"):
        read_header(written)
    with pytest.raises(ModelCorruptError, match="damaged"):
        MappedTensors([written])


def test_a_header_that_is_longer_than_the_file(path):
    path.write_bytes((33).to_bytes(8, "little") + b"{}" + bytes(30))
    with pytest.raises(ModelCorruptError, match="cannot hold a header of 33 bytes"):
        read_header(str(path))


@pytest.mark.skipif(os.name != "posix", reason="address space limits")
def test_a_huge_header_is_refused_without_being_read(python, path):
    """In a process that has no memory to read it into."""
    size = 2**30
    with open(path, "wb") as file:
        file.write(size.to_bytes(8, "little"))
        file.truncate(8 + size)  # sparse: takes no room
    code = """
import resource, sys
from loader import ModelCorruptError
from loader.model.safetensors import read_header
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 2**28
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
try:
    read_header(sys.argv[1])
except ModelCorruptError as error:
    print(error)
"""
    done = python(code, str(path))
    assert f"over the limit of {MAX_HEADER_BYTES}" in done.out, done
    assert done.code == 0


@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.symlink_to("nowhere")], ids=["a folder", "a dead link"])
def test_what_is_no_file(path, make):
    make(path)
    with pytest.raises(ModelCorruptError, match="damaged"):
        MappedTensors([str(path)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ModelCorruptError, match="not a regular file"):
        read_header(str(path))


VALID = json.dumps(
    {"__metadata__": {"format": "pt"}, "a": entry(0, 16, [2, 2]), "b": entry(16, 24, [4], "F16"), "c": entry(24, 32)}
).encode()


CHUNKS = [b"0", b"9", b"-", b".", b"e", b"[", b"]", b"{", b"}", b",", b'"', b":", b"\\u0000", b"\xff", b"true", b"null"]


NUMBERS = st.integers(-5, 40) | st.sampled_from([2**31, 2**48, 2**63, 2**64, 10**30])


SMALL = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "F64", "BOOL"]),
        "shape": st.lists(NUMBERS, max_size=3),
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2),
    }
)


def check_consistent_or_refused(path, header):
    """A header is either refused, or everything that it says can be read and lies inside of the file."""
    written = write(path, header)
    try:
        tensors = MappedTensors([written])
    except ModelCorruptError:
        return
    covered = 0
    for name in tensors.names:
        _, place = tensors.place(name)
        assert path.stat().st_size - len(DATA) <= place.start <= place.end <= path.stat().st_size
        covered += place.end - place.start
        try:
            array = tensors.floats(name)
        except ModelUnsupportedError:
            continue
        assert array.shape == place.shape
        assert array.dtype == np.float32
        array.sum()
    assert covered == len(DATA)


@PER_FUNCTION
@given(data=st.data())
def test_any_mutation_of_a_header_is_consistent_or_refused(path, data):
    header = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(header)))
        stop = data.draw(st.integers(start, min(start + 4, len(header))))
        header = header[:start] + data.draw(st.sampled_from(CHUNKS) | st.binary(max_size=3)) + header[stop:]
    check_consistent_or_refused(path, header)


@PER_FUNCTION
@given(header=st.dictionaries(st.sampled_from("abcd"), SMALL, max_size=4))
def test_any_well_formed_header_is_consistent_or_refused(path, header):
    check_consistent_or_refused(path, header)


def test_the_property_can_fail(path, monkeypatch):
    """Without the comparison of shape and range, a mutated header is accepted and found out here."""
    from loader.model import safetensors

    monkeypatch.setattr(safetensors, "_product", lambda shape: 8)
    with pytest.raises((AssertionError, ValueError)):
        check_consistent_or_refused(path, {"a": entry(0, 32, [7])})


NUMBERS_READ = np.array([[1.5, -2.25, 0.0], [65504.0, -0.0078125, 3.140625]], np.float32)


@pytest.mark.parametrize("shift", range(8))
def test_every_dtype_is_read_wherever_it_begins(path, shift):
    """Headers of any length and tensors of one byte before: nothing has to be aligned."""
    bf16 = (NUMBERS_READ.view(np.uint32) >> 16).astype("<u2").tobytes()
    parts = [("x", "I8", [3], bytes([1, 2, 255])), ("f16", "F16", [2, 3], NUMBERS_READ.astype("<f2").tobytes())]
    parts += [("f32", "F32", [2, 3], NUMBERS_READ.astype("<f4").tobytes()), ("bf16", "BF16", [2, 3], bf16)]
    parts += [("one", "F32", [], struct.pack("<f", 7.5)), ("none", "F32", [0, 3], b"")]
    header, position = {}, 0
    for name, dtype, shape, content in parts:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(content)]}
        position += len(content)
    encoded = json.dumps(header).encode() + b" " * shift
    tensors = MappedTensors([write(path, encoded, b"".join(content for *_, content in parts))])
    for name in ("f16", "f32"):
        assert np.array_equal(tensors.floats(name), NUMBERS_READ)
        assert tensors.floats(name).flags.aligned
    kept = (NUMBERS_READ.view(np.uint32) >> 16 << 16).view(np.float32)
    assert np.array_equal(tensors.floats("bf16"), kept)
    assert tensors.bytes8("x").tolist() == [1, 2, -1]
    assert tensors.floats("one").shape == ()
    assert float(tensors.floats("one")) == 7.5
    assert tensors.floats("none").shape == (0, 3)
    with pytest.raises(ModelUnsupportedError, match="I8"):
        tensors.floats("x")
    with pytest.raises(ModelUnsupportedError, match="F32"):
        tensors.bytes8("f32")
    with pytest.raises(ValueError, match="read-only"):
        tensors.bytes8("x")[0] = 1


def test_a_tensor_that_stands_in_two_files(path, tmp_path):
    one, two = write(path, {"a": entry(0, 32)}), write(tmp_path / "2.safetensors", {"a": entry(0, 32)})
    with pytest.raises(ModelCorruptError, match=r"2\.safetensors is damaged: the tensor 'a' is also in "):
        MappedTensors([one, two])
