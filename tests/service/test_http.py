"""The HTTP side: OpenAI's own client against a real server, then requests that mean no good."""

import asyncio
import base64
import http.client
import json
import logging
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.errors import (
    ArgumentValueError,
    EngineMissingError,
    ServiceBusyError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    ServiceUnsafeError,
    TextError,
)
from loader.service.server import http as http_side
from loader.service.server import http_app, http_request
from loader.service.server.http import Access, HttpModel, read_or_make_token, run_http
from tests.conftest import MINILM, ROOT
from tests.service.http_fake import DIMENSION, NAME, TOKEN, Fake, fake_model, post, raw, serving, vector_of

SECRET = "sesame-open"
"""A text that must show up nowhere."""


@pytest.fixture(scope="module")
def shared():
    """A server that all tests of harmless and hostile requests share: a request that breaks it fails the next test."""
    models = {NAME: fake_model(Fake()), "loading": None}
    with serving(models) as port:
        yield port


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def own(fake):
    """A server of this test alone."""
    with serving({NAME: fake_model(fake)}) as port:
        yield port


def client(port, key=TOKEN):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=60)


def answer(received: bytes) -> tuple[int, dict[str, str], object]:
    """Status, headers and parsed body of the first answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    length = headers.get("content-length")
    body = body if length is None else body[: int(length)]
    return int(first.split()[1]), headers, json.loads(body) if "json" in headers.get("content-type", "") else body


def ask(port, body, **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer(raw(port, post(port, body, **headers)))


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"} | headers)
        found = connection.getresponse()
        return found.status, json.loads(found.read() or b"null")
    finally:
        connection.close()


def is_well_formed(body) -> bool:
    error = body["error"]
    return set(error) == {"message", "type", "param", "code"} and bool(error["message"])


def alive(port):
    with client(port) as asking:
        assert asking.embeddings.create(model=NAME, input="still there").data[0].embedding == vector_of("still there")


class TestOpenAIsClient:
    @pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=str)
    def test_vectors_are_the_models_to_the_last_bit(self, shared, form):
        texts = ["first", "zweiter Text ü", "", " ", "Unicode 🎈"]
        with client(shared) as asking:
            found = asking.embeddings.create(model=NAME, input=texts, user="somebody", **form)
        assert [item.index for item in found.data] == [0, 1, 2, 3, 4]
        assert found.model == NAME
        for text, item in zip(texts, found.data, strict=True):
            vector = item.embedding
            if form.get("encoding_format") == "base64":
                vector = list(struct.unpack("<4f", base64.b64decode(vector)))
            assert vector == vector_of(text)

    def test_a_single_text_and_its_kind(self, shared):
        with client(shared) as asking:
            for kind in ("query", "document"):
                found = asking.embeddings.create(
                    model=NAME, input="text", dimensions=DIMENSION, extra_body={"input_type": kind}
                )
                assert found.data[0].embedding == vector_of("text", kind)

    def test_many_texts_are_embedded_in_parts(self, own, fake):
        texts = [f"text {number}" for number in range(150)]
        with client(own) as asking:
            found = asking.embeddings.create(model=NAME, input=texts)
        assert fake.sizes == [64, 64, 22]
        assert [item.embedding for item in found.data] == [vector_of(text) for text in texts]

    def test_tokens_are_counted_where_somebody_can(self, fake):
        with serving({NAME: fake_model(fake, count_tokens=len)}) as port, client(port) as asking:
            usage = asking.embeddings.create(model=NAME, input=["abc"] * 70).usage
        assert usage.prompt_tokens == usage.total_tokens == 210

    def test_models(self, shared):
        with client(shared) as asking:
            assert [model.id for model in asking.models.list()] == [NAME], "one that loads is not there yet"
            assert asking.models.retrieve(NAME).id == NAME
            with pytest.raises(openai.NotFoundError):
                asking.models.retrieve("another")
            with pytest.raises(openai.InternalServerError) as caught:
                asking.models.retrieve("loading")
        assert caught.value.status_code == 503

    def test_a_wrong_token(self, shared):
        for key in ("wrong", TOKEN + "x", TOKEN[:-1], "Bearer"):
            with client(shared, key) as asking, pytest.raises(openai.AuthenticationError):
                asking.embeddings.create(model=NAME, input="x")

    def test_a_wrong_model(self, shared):
        with client(shared) as asking, pytest.raises(openai.NotFoundError) as caught:
            asking.embeddings.create(model="another", input="x")
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert NAME in str(caught.value)
        assert "another" not in str(caught.value)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"input": [1, 2, 3]},
            {"input": [[1, 2], [3]]},
            {"input": []},
            {"input": ["x"] * (http_request.MAX_INPUTS + 1)},
            {"input": "x" * (http_request.MAX_TEXT_CHARACTERS + 1)},
            {"input": "x", "dimensions": DIMENSION - 1},
            {"input": "x", "encoding_format": "hex"},
            {"input": "x", "extra_body": {"input_type": "passage"}},
        ],
        ids=["tokens", "lists of tokens", "nothing", "many", "long", "dimensions", "format", "kind"],
    )
    def test_what_cannot_be_embedded(self, shared, arguments):
        with client(shared) as asking, pytest.raises(openai.BadRequestError) as caught:
            asking.embeddings.create(model=NAME, **arguments)
        assert caught.value.param in {"input", "dimensions", "encoding_format", "input_type"}

    def test_as_much_as_is_allowed(self, shared):
        with client(shared) as asking:
            found = asking.embeddings.create(model=NAME, input=["x"] * http_request.MAX_INPUTS)
            assert len(found.data) == http_request.MAX_INPUTS
            asking.embeddings.create(model=NAME, input="x" * http_request.MAX_TEXT_CHARACTERS)

    @pytest.mark.parametrize(
        ("error", "expected", "status"),
        [
            (ServiceBusyError(SECRET), openai.RateLimitError, 429),
            (ServiceTimeoutError(SECRET), openai.InternalServerError, 504),
            (ServiceUnavailableError(SECRET), openai.InternalServerError, 503),
            (ServiceRefusedError(SECRET), openai.InternalServerError, 500),
            (TextError(SECRET), openai.BadRequestError, 400),
            (RuntimeError(SECRET), openai.InternalServerError, 500),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_failures_have_their_class_and_say_nothing_of_the_text(self, own, fake, caplog, error, expected, status):
        fake.error = error
        error.__cause__ = ValueError(SECRET)
        with caplog.at_level(logging.DEBUG), client(own) as asking, pytest.raises(expected) as caught:
            asking.embeddings.create(model=NAME, input="x")
        assert caught.value.status_code == status
        assert is_well_formed(caught.value.response.json())
        assert SECRET not in caught.value.response.text
        assert SECRET not in caplog.text
        assert (f"{type(error).__name__} from ValueError" in caplog.text) == (status == 500)
        assert ("retry-after" in caught.value.response.headers) == (status in {429, 503})
        fake.error = None
        alive(own)

    @pytest.mark.parametrize("returned", [b"", bytes(4 * DIMENSION - 1), bytes(8 * DIMENSION)])
    def test_vectors_of_another_size_are_no_answer(self, own, fake, returned):
        fake.returned = returned
        with client(own) as asking, pytest.raises(openai.InternalServerError):
            asking.embeddings.create(model=NAME, input="x")

    def test_texts_are_never_logged(self, fake, caplog):
        with caplog.at_level(logging.DEBUG), serving({NAME: fake_model(fake)}) as port:
            with client(port) as asking:
                asking.embeddings.create(model=NAME, input=SECRET)
                with pytest.raises(openai.BadRequestError):
                    asking.embeddings.create(model=NAME, input=[SECRET, 1])
            for body in (SECRET, f'{{"model": "{NAME}", "input": "{SECRET}\\ud800"}}', f'{{"model": "{SECRET}"}}'):
                status, _, found = ask(port, body.encode())
                assert status == 400
                assert SECRET not in json.dumps(found)
            get(port, f"/v1/models/{SECRET}")
        mine = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] not in CLIENTS]
        assert mine, "the server's own log is seen"
        assert not [message for message in mine if SECRET in message or "POST" in message]

    @pytest.mark.real_model
    def test_the_real_model(self, provider):
        import numpy as np

        async def embed(texts, kind, deadline_s):
            return np.asarray(await asyncio.to_thread(provider.embed_batch, texts), "<f4").tobytes()

        texts = ["database connection", "Äpfel und Birnen"]
        expected = np.asarray(provider.embed_batch(texts))
        with serving({MINILM: HttpModel(MINILM, expected.shape[1], embed)}) as port, client(port) as asking:
            for form in ({}, {"encoding_format": "float"}):
                found = asking.embeddings.create(model=MINILM, input=texts, **form)
                vectors = np.array([item.embedding for item in found.data], np.float32)
                assert np.array_equal(vectors, expected)


CLIENTS = {"openai", "httpx", "httpx2", "httpcore", "httpcore2"}
"""Loggers of the client's side, which runs in this process too and may log what it sends."""


class TestStates:
    def test_health_needs_no_token_and_says_one_word(self, own):
        assert get(own, "/health", Authorization="") == (200, {"status": "ready"})

    def test_models_may_come_later(self, fake):
        models = {}
        with serving(models) as port, client(port) as asking:
            assert get(port, "/health") == (503, {"status": "loading"})
            with pytest.raises(openai.InternalServerError) as caught:
                asking.embeddings.create(model=NAME, input="x")
            assert caught.value.status_code == 503
            models[NAME] = None
            assert get(port, "/health") == (503, {"status": "loading"})
            models[NAME] = fake_model(fake)
            assert get(port, "/health") == (200, {"status": "ready"})
            alive(port)

    def test_more_requests_than_it_holds(self, own, monkeypatch):
        monkeypatch.setattr(http_app, "MAX_ACTIVE", 0)
        status, headers, body = ask(own, {"model": NAME, "input": "x"})
        assert status == 429
        assert headers["retry-after"] == "1"
        assert is_well_formed(body)

    def test_more_connections_than_it_holds(self, own, monkeypatch):
        monkeypatch.setattr(http_side, "MAX_CONNECTIONS", 0)
        assert raw(own, b"") == b""
        monkeypatch.undo()
        alive(own)

    def test_paths_and_methods_that_are_not_there(self, shared):
        for path, method, expected in (
            ("/", "GET", 404),
            ("/v1/chat/completions", "POST", 404),
            ("/v1/models/", "GET", 404),
            ("/v1/embeddings", "GET", 405),
            ("/health", "DELETE", 405),
            ("/v1/embeddings", "OPTIONS", 405),
            ("/%00%ff/../..", "GET", 404),
        ):
            status, body = get(shared, path, method)
            assert status == expected, path
            assert is_well_formed(body)

    def test_nothing_is_to_be_found_out_without_the_token(self, shared):
        for path in ("/", "/v1/models", f"/v1/models/{NAME}", "/v1/embeddings", "/health/"):
            status, body = get(shared, path, Authorization="")
            assert status == 401
            assert is_well_formed(body)

    def test_it_ends_when_cancelled_though_a_client_keeps_its_connection(self, fake):
        with serving({NAME: fake_model(fake)}) as port:
            idle = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            idle.request("GET", "/health")
            idle.getresponse().read()
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=60)

    def test_signals_stay_as_they_are(self, fake):
        async def main():
            before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
            ready = asyncio.Event()
            task = asyncio.create_task(
                run_http({NAME: fake_model(fake)}, Access(TOKEN), port=0, on_ready=lambda port: ready.set())
            )
            await ready.wait()
            await asyncio.sleep(0.2)
            during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return before == during

        assert asyncio.run(main())

    def test_a_port_that_is_taken(self, own, fake):
        with pytest.raises(ServiceUnavailableError, match=f"port {own}"):
            asyncio.run(run_http({NAME: fake_model(fake)}, Access(TOKEN), port=own))

    @pytest.mark.parametrize("port", [-1, 65536, 10**9])
    def test_a_port_that_cannot_be(self, fake, port):
        with pytest.raises(ServiceUnavailableError, match=f"port {port}"):
            asyncio.run(run_http({NAME: fake_model(fake)}, Access(TOKEN), port=port))

    def test_only_this_machine_may_do_without_a_token(self, fake):
        with pytest.raises(ArgumentValueError, match="token"):
            asyncio.run(run_http({NAME: fake_model(fake)}, Access(None), host="0.0.0.0", port=0))
        with serving({NAME: fake_model(fake)}, Access(None)) as port, client(port, "any") as asking:
            assert asking.embeddings.create(model=NAME, input="x").data[0].embedding == vector_of("x")

    @pytest.mark.parametrize("package", ["uvicorn", "starlette"])
    def test_a_missing_package_names_the_extra(self, package):
        code = f"import sys; sys.modules[{package!r}] = None\nimport loader.service.server.http"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert EngineMissingError.__name__ in done.stderr
        assert f"needs {package}" in done.stderr
        assert "python -m pip install 'optimized-embedding-loader[http]'" in done.stderr


GOOD = {"model": NAME, "input": SECRET}


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


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
class TestToken:
    @pytest.fixture(autouse=True)
    def no_token_in_the_environment(self, monkeypatch):
        monkeypatch.delenv("EMBEDDING_LOADER_HTTP_TOKEN", raising=False)

    def test_it_is_made_once_and_private(self, tmp_path):
        os.umask(os.umask(0))
        token = read_or_make_token(str(tmp_path))
        path = tmp_path / "http-token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().strip() == token
        assert len(token) >= 40
        assert read_or_make_token(str(tmp_path)) == token
        assert [found.name for found in tmp_path.iterdir()] == ["http-token"]
        path.unlink()
        assert read_or_make_token(str(tmp_path)) != token
        assert token not in repr(Access(token))

    def test_many_at_once_agree(self, tmp_path):
        code = (
            "import sys\nfrom loader.service.server.http_security import read_or_make_token as t\nprint(t(sys.argv[1]))"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
        assert len({child.communicate(timeout=120)[0] for child in running}) == 1
        assert [child.returncode for child in running] == [0] * 4

    def test_the_environment_wins(self, tmp_path, monkeypatch):
        monkeypatch.setenv("EMBEDDING_LOADER_HTTP_TOKEN", "mine")
        assert read_or_make_token(str(tmp_path)) == "mine"
        assert not list(tmp_path.iterdir())
        monkeypatch.setenv("EMBEDDING_LOADER_HTTP_TOKEN", "with space")
        with pytest.raises(ArgumentValueError, match="EMBEDDING_LOADER_HTTP_TOKEN"):
            read_or_make_token(str(tmp_path))

    @pytest.mark.parametrize("token", ["", "a b", "ä", "x\n", "x" * 513])
    def test_tokens_that_no_header_can_carry(self, token):
        with pytest.raises(ArgumentValueError):
            Access(token)

    def test_files_that_are_not_trusted(self, tmp_path):
        path = tmp_path / "http-token"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("stolen")
        elsewhere.chmod(0o600)

        def write(data, mode):
            path.write_bytes(data)
            path.chmod(mode)

        for make in (
            lambda: path.symlink_to(elsewhere),
            lambda: path.symlink_to(tmp_path / "nowhere"),
            lambda: os.mkfifo(path, 0o600),
            lambda: write(b"known", 0o644),
            lambda: write(b"known", 0o620),
            lambda: write(b"", 0o600),
            lambda: write(b"\xff\xfe", 0o600),
            lambda: write(b"x" * 5000, 0o600),
        ):
            make()
            with pytest.raises(ServiceUnsafeError, match="http-token"):
                read_or_make_token(str(tmp_path))
            path.unlink()
        path.mkdir()
        with pytest.raises(ServiceUnsafeError, match="http-token"):
            read_or_make_token(str(tmp_path))

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(ServiceUnavailableError, match="http-token"):
            read_or_make_token(str(tmp_path / "missing"))
