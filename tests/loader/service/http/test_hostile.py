"""Requests that mean no good."""

import json
import logging
import socket
import struct
import time

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.service.server import http_app, http_request
from tests.loader.service.http.asking import GOOD, SECRET, alive, answer, ask, client, is_well_formed
from tests.loader.service.http.fake import DIMENSION, NAME, TOKEN, Fake, fake_model, post, raw, serving, vector_of

pytestmark = pytest.mark.process


class TestHostileRequests:
    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "localhost.evil.example:{port}",
         "user@localhost:{port}", "", "[::1]", "127.0.0.1:{port}0", "0.0.0.0:{port}"],
    )  # fmt: skip
    def test_a_host_that_is_not_ours(self, shared, host):
        status, _, body = ask(shared, GOOD, Host=host.format(port=shared))
        assert status == 421
        assert is_well_formed(body)
        assert "evil" not in json.dumps(body)

    @pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
    def test_hosts_that_are_ours(self, shared, host):
        name = host.format(port=shared)
        assert ask(shared, GOOD, Host=name)[0] == 200
        assert ask(shared, GOOD, Host=name, Origin=f"http://{name}")[0] == 200

    def test_no_host_or_two(self, shared):
        assert b" 400 " in raw(shared, post(shared, b"{}", Host=None)).split(b"\r\n")[0]
        request = f"GET /health HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        assert answer(raw(shared, request))[0] == 421
        request = f"GET /health HTTP/1.1\r\nHost: localhost:{shared}\r\nHost: evil\r\nConnection: close\r\n\r\n"
        assert b" 200 " not in raw(shared, request.encode()).split(b"\r\n")[0]

    @pytest.mark.parametrize(
        "origin",
        ["https://evil.example", "null", "", "http://localhost", "http://127.0.0.1:1", "https://localhost:{port}",
         "http://localhost:{port}.evil.example", "file://"],
    )  # fmt: skip
    def test_pages_of_others(self, shared, origin):
        for method, path in (("POST", "/v1/embeddings"), ("OPTIONS", "/v1/embeddings"), ("GET", "/health")):
            request = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost:{shared}\r\nOrigin: {origin.format(port=shared)}\r\n"
                f"Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            status, headers, body = answer(raw(shared, request.encode()))
            assert status == 403
            assert is_well_formed(body)
            assert not [name for name in headers if name.startswith("access-control")]

    @pytest.mark.parametrize(
        "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "", None]
    )
    def test_forms(self, shared, kind):
        status, _, body = ask(shared, GOOD, Content_Type=kind)
        assert status == 415
        assert is_well_formed(body)

    def test_json_with_its_characters_named(self, shared):
        assert ask(shared, GOOD, Content_Type="Application/JSON; charset=utf-8")[0] == 200

    @pytest.mark.parametrize(
        "value", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer{TOKEN}", "Bearer \xff"]
    )
    def test_tokens_that_are_none(self, shared, value):
        status, headers, _ = ask(shared, GOOD, Authorization=value)
        assert status == 401
        assert headers["www-authenticate"] == "bearer"

    def test_the_token_comes_before_the_body(self, shared):
        request = post(shared, b"", Authorization="Bearer wrong", Content_Length="1000000000000")
        assert answer(raw(shared, request))[0] == 401

    def test_a_body_that_announces_too_much(self, shared):
        status, headers, body = answer(raw(shared, post(shared, b"{", Content_Length="1000000000000")))
        assert status == 413
        assert headers["connection"] == "close"
        assert is_well_formed(body)

    @pytest.mark.parametrize("extra", [1, 2**20])
    def test_a_body_that_is_somewhat_too_long(self, shared, extra):
        with client(shared) as asking, pytest.raises(openai.APIStatusError) as caught:
            asking.embeddings.create(model=NAME, input="x" * (http_request.MAX_BODY_BYTES + extra))
        assert caught.value.status_code == 413

    def test_a_body_in_chunks_without_end(self, shared):
        chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
        request = post(shared, b"", Content_Length=None, Transfer_Encoding="chunked")
        received = raw(shared, request + chunk * 40)
        # The server closes before it has read all of it, so the answer itself may get lost.
        assert received == b"" or answer(received)[0] == 413
        alive(shared)

    def test_chunks_that_fit(self, shared):
        body = json.dumps(GOOD).encode()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        assert ask(shared, chunks, Content_Length=None, Transfer_Encoding="chunked")[0] == 200

    def test_a_body_that_is_longer_than_it_says(self, shared):
        body = json.dumps(GOOD).encode()
        request = post(shared, body, Connection="keep-alive", Content_Length=str(len(body))) + b"garbage\r\n\r\n"
        received = raw(shared, request)
        assert answer(received)[0] == 200
        assert b"HTTP/1.1 400 " in received
        alive(shared)

    def test_a_body_that_does_not_arrive(self, own, monkeypatch):
        monkeypatch.setattr(http_app, "BODY_S", 0.2)
        status, headers, body = answer(raw(own, post(own, b'{"model', Content_Length="100", Connection="keep-alive")))
        assert status == 408
        assert headers["connection"] == "close"
        assert is_well_formed(body)

    @pytest.mark.parametrize("length", [10, 60, 200, 235])
    def test_half_a_request_keeps_nobody_waiting(self, shared, caplog, length):
        request = post(shared, json.dumps(GOOD).encode())
        with caplog.at_level(logging.DEBUG), socket.create_connection(("127.0.0.1", shared), timeout=60) as slow:
            for byte in request[:length]:
                slow.send(bytes([byte]))
            alive(shared)
        alive(shared)
        assert "Traceback" not in caplog.text

    def test_who_goes_away_is_not_computed_for(self, caplog):
        fake = Fake(hold=True)
        with caplog.at_level(logging.DEBUG), serving({NAME: fake_model(fake)}) as port:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                gone.sendall(post(port, json.dumps({"model": NAME, "input": ["x"] * 2048}).encode()))
                while not fake.sizes:
                    time.sleep(0.01)
            fake.hold = False
            alive(port)
        assert sum(fake.sizes) < 2048
        assert "Traceback" not in caplog.text

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[]", b"null", b"7", b"NaN", b"\xff\xfe", b'\xef\xbb\xbf{"model": "x"}', b"[" * 1_000_000,
         b'{"a":' * 500_000, b"9" * 10_000, '{"model": "x"}'.encode("utf-16"), b'{"model": "\xed\xa0\x80"}',
         b'{"model": "x", "input": "\x00"}'],
        ids=lambda body: ascii(body[:12]),
    )  # fmt: skip
    def test_garbage(self, shared, body):
        status, _, found = ask(shared, body)
        assert status == 400
        assert is_well_formed(found)

    @pytest.mark.parametrize(
        "value",
        [b"[" + b"1," * 40_000 + b"1]", b"[" + b"[[[]]]," * 10_000 + b"1]", b"[" + b'"",' * 30_000 + b'""]',
         b'{"a":' * 14_000, b'"' + b'\\"' * 40_000 + b'"' + b" " * 70_000],
        ids=["numbers", "brackets", "strings", "objects", "blanks"],
    )  # fmt: skip
    @pytest.mark.parametrize("field", ["input", "user"])
    def test_what_would_keep_the_parser_busy_is_not_parsed(self, shared, field, value):
        """Whatever is large and no text: the parser does not let go of the interpreter's lock."""
        status, _, found = ask(shared, b'{"model": "%b", "%b": %b}' % (NAME.encode(), field.encode(), value))
        assert status == 400
        assert found["error"]["param"] == "input"
        assert "outside strings" in found["error"]["message"]

    @pytest.mark.parametrize("text", ["ж" * 90_000, '"\\' * 45_000, "x" * 90_000 + "🎈", "[1, 2, {}" * 10_000])
    @pytest.mark.parametrize("ascii_only", [False, True])
    def test_large_texts_of_any_kind_are_read(self, shared, text, ascii_only):
        texts = [text] * 6
        status, _, found = ask(shared, json.dumps({"model": NAME, "input": texts}, ensure_ascii=ascii_only).encode())
        assert status == 200
        assert found["data"][5]["embedding"] == vector_of(text)

    @pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00 x"', '["fine", "x\\udfff"]'])
    def test_lone_surrogates(self, shared, text):
        status, _, found = ask(shared, f'{{"model": "{NAME}", "input": {text}}}'.encode())
        assert status == 400
        assert found["error"]["param"] == "input"
        assert ask(shared, f'{{"model": "{NAME}", "input": "\\ud83c\\udf88"}}'.encode())[0] == 200, (
            "a pair is a character"
        )

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("model", [None, 1, True, [], {}, ""]),
            ("input", [None, 1, True, {}, 1.5, [None], [True], [1.5], ["x", 1], ["x", ["y"]], [{}], [[]]]),
            ("dimensions", [0, -1, True, 1.5, float("nan"), float("inf"), "4", [], 10**400]),
            ("encoding_format", [1, "", "FLOAT", [], {}, True, ["float"]]),
            ("input_type", [1, "", "Query", [], {}, False]),
        ],
    )
    def test_wrong_types(self, shared, field, values):
        for value in values:
            status, _, found = ask(shared, GOOD | {field: value})
            assert status == 400, value
            assert found["error"]["param"] == field, value
            assert SECRET not in json.dumps(found)

    def test_what_is_null_is_not_there(self, shared):
        assert ask(shared, GOOD | dict.fromkeys(("dimensions", "encoding_format", "input_type", "user")))[0] == 200

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("query"),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
    REQUEST = st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from([NAME, "loading?", "x"]) | JSON,
            "input": st.text() | st.lists(st.text(), max_size=70) | JSON,
            "encoding_format": st.sampled_from(["float", "base64"]) | JSON,
            "dimensions": st.just(DIMENSION) | JSON,
            "input_type": st.sampled_from(["query", "document"]) | JSON,
            "user": JSON,
        },
    )

    @settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(body=(REQUEST | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
    def test_every_body_has_an_answer(self, shared, body):
        status, headers, found = ask(shared, body)
        assert headers["content-type"] == "application/json"
        if status == 200:
            asked = json.loads(body)
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            assert len(found["data"]) == len(texts)
        else:
            assert status in {400, 404}
            assert is_well_formed(found)

    @settings(deadline=None, max_examples=100)
    @given(body=st.binary(max_size=300))
    def test_bytes_that_are_no_http(self, shared, body):
        received = raw(shared, body, end=True)
        assert b" 500 " not in received.partition(b"\r\n")[0]
