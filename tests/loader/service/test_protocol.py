"""Frames: what is packed comes back, and whatever else arrives is one of the errors that callers expect."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import (
    ModelNotFoundError,
    ServiceBusyError,
    ServiceError,
    ServiceMismatchError,
    ServiceProtocolError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from loader.service.protocol import (
    EMBED,
    HEADER,
    KINDS,
    MAGIC,
    MAX_PAYLOAD_BYTES,
    MAX_TEXT_CHARACTERS,
    MAX_TEXTS,
    PROTOCOL_VERSION,
    STATUS,
    Header,
    Welcome,
    pack,
    pack_embed,
    pack_error,
    pack_welcome,
    unpack_embed,
    unpack_error,
    unpack_header,
    unpack_welcome,
)

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=MAX_TEXTS)
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


def split(frame):
    return unpack_header(frame[: HEADER.size]), frame[HEADER.size :]


@given(TEXTS, st.sampled_from(["query", "document"]), st.integers(0, 2**32 - 1))
def test_a_request_comes_back(texts, kind, milliseconds):
    header, payload = split(pack_embed([text.encode() for text in texts], kind, milliseconds / 1000))
    assert header.kind == EMBED
    assert header.length == len(payload)
    got, got_kind, deadline_s = unpack_embed(header, payload)
    assert (got, got_kind) == (texts, kind)
    assert abs(deadline_s - milliseconds / 1000) <= 0.001


@given(st.integers(1, 100_000), st.one_of(st.none(), st.integers(1, 2**31)), WORDS, WORDS, WORDS)
def test_a_welcome_comes_back(dimension, longest, engine, device, precision):
    _, payload = split(pack_welcome(Welcome(dimension, longest, engine, device, precision)))
    got = unpack_welcome(payload)
    assert (got.dimension, got.max_seq_length) == (dimension, longest)
    assert (got.engine, got.device, got.precision) == (engine, device, precision)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=64), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_a_header_comes_back(kind, payload, detail, count):
    header, rest = split(pack(kind, payload, detail=detail, count=count))
    assert (header.kind, header.detail, header.count, header.length) == (kind, detail, count, len(payload))
    assert rest == payload


@pytest.mark.parametrize(
    "error",
    [
        ServiceBusyError,
        ServiceMismatchError,
        ServiceProtocolError,
        ServiceTimeoutError,
        ServiceRefusedError,
        ServiceUnavailableError,
    ],
)
def test_an_error_comes_back_as_what_it_was(error):
    header, payload = split(pack_error(error("what happened")))
    got = unpack_error(header, payload)
    assert type(got) is error
    assert "what happened" in str(got)


def test_an_error_that_is_none_of_the_services_is_a_refusal():
    header, payload = split(pack_error(ModelNotFoundError("nowhere")))
    assert type(unpack_error(header, payload)) is ServiceRefusedError


@given(st.binary(max_size=40))
def test_random_bytes_as_a_header(data):
    with pytest.raises(ServiceProtocolError):
        unpack_header(data)


@given(st.binary(min_size=HEADER.size - 4, max_size=HEADER.size - 4))
def test_random_bytes_after_the_right_beginning(data):
    try:
        header = unpack_header(MAGIC + data)
    except (ServiceProtocolError, ServiceMismatchError):
        return
    assert data[0] == PROTOCOL_VERSION
    assert header.kind in KINDS
    assert header.length <= MAX_PAYLOAD_BYTES


@given(st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 100), st.binary(max_size=600))
def test_random_bytes_as_a_request(kind, detail, count, payload):
    check_refused_or_consistent(Header(kind, detail, count, len(payload)), payload)


@given(TEXTS, st.data())
def test_a_request_that_was_changed(texts, data):
    frame = bytearray(pack_embed([text.encode() for text in texts], "document", 1.0))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = unpack_header(bytes(frame[: HEADER.size]))
    except (ServiceProtocolError, ServiceMismatchError):
        return
    check_refused_or_consistent(header, bytes(frame[HEADER.size :]))


@given(TEXTS, st.data())
def test_a_request_that_was_cut(texts, data):
    header, payload = split(pack_embed([text.encode() for text in texts], "query", 1.0))
    with pytest.raises(ServiceProtocolError):
        unpack_embed(header, payload[: data.draw(st.integers(0, len(payload) - 1))])


def check_refused_or_consistent(header, payload):
    try:
        texts, kind, deadline_s = unpack_embed(header, payload)
    except (ServiceProtocolError, ServiceRefusedError):
        return
    assert len(texts) == header.count
    assert sum(len(text.encode()) for text in texts) + 4 * (1 + len(texts)) == len(payload)
    assert kind in {"query", "document"}
    assert deadline_s >= 0


@given(st.binary(max_size=80))
def test_random_bytes_as_a_welcome(payload):
    check_welcome(payload)


@given(st.data())
def test_a_welcome_that_was_changed_or_cut(data):
    payload = bytearray(split(pack_welcome(Welcome(384, 256, "numpy", "cpu", "float32")))[1])
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    check_welcome(bytes(payload[: data.draw(st.integers(0, len(payload)))]))


def check_welcome(payload):
    try:
        welcome = unpack_welcome(payload)
    except ServiceProtocolError:
        return
    assert 0 < welcome.dimension <= MAX_PAYLOAD_BYTES // 4


@given(st.integers(0, 2**16 - 1), st.binary(max_size=80))
def test_random_bytes_as_an_error(detail, payload):
    assert isinstance(unpack_error(Header(6, detail, 0, len(payload)), payload), ServiceError)


def test_two_gigabytes_are_refused_by_the_header():
    with pytest.raises(ServiceProtocolError, match="2147483648"):
        unpack_header(HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 2**31))


def test_another_version_is_a_mismatch():
    with pytest.raises(ServiceMismatchError):
        unpack_header(HEADER.pack(MAGIC, PROTOCOL_VERSION + 1, STATUS, 0, 0, 0))


def test_limits_of_a_request():
    too_long = b"a" * (MAX_TEXT_CHARACTERS + 1)
    with pytest.raises(ServiceRefusedError, match=str(MAX_TEXT_CHARACTERS)):
        unpack_embed(*split(pack_embed([too_long], "query", 1.0)))
    with pytest.raises(ServiceRefusedError, match=str(MAX_TEXTS)):
        unpack_embed(*split(pack_embed([b"a"] * (MAX_TEXTS + 1), "query", 1.0)))
    with pytest.raises(ServiceRefusedError):
        unpack_embed(*split(pack_embed([], "query", 1.0)))
    with pytest.raises(ServiceRefusedError):
        pack_embed([b"a" * MAX_PAYLOAD_BYTES], "query", 1.0)


def test_the_error_of_a_broken_text_does_not_quote_it():
    payload = struct.pack("<2I", 1000, 7) + b"secret\xff"
    with pytest.raises(ServiceProtocolError) as caught:
        unpack_embed(Header(EMBED, 0, 1, len(payload)), payload)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__
