"""OpenAI's own client against a real server, and the states that a server can be in."""

import asyncio
import base64
import http.client
import json
import logging
import signal
import socket
import struct
import subprocess
import sys

import openai
import pytest

from loader.errors import (
    ArgumentValueError,
    EngineMissingError,
    ModelUnsupportedError,
    ServiceBusyError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    TextError,
)
from loader.service.server import http_app, http_places, http_request
from loader.service.server.http import Access, HttpModel, run_http
from loader.service.server.process import token_counter
from tests.conftest import MINILM, ROOT
from tests.loader.service.http.asking import SECRET, alive, ask, client, get, is_well_formed
from tests.loader.service.http.fake import DIMENSION, NAME, TOKEN, fake_model, raw, serving, vector_of

pytestmark = pytest.mark.process


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

    @pytest.mark.real_model
    def test_tokens_are_those_that_the_model_reads(self, minilm_folder):
        count = token_counter(str(minilm_folder))
        assert [count(text) for text in ("", "database connection", "word " * 10_000)] == [2, 4, 256]

    @pytest.mark.real_model
    def test_a_model_whose_tokens_nobody_can_count(self, fake, changed, minilm_folder):
        """There is no tokenizer.json: engines that can do without embed, and usage says nothing."""
        count = token_counter(changed(minilm_folder, lambda copy: (copy / "tokenizer.json").unlink()))
        with pytest.raises(ModelUnsupportedError):
            count("x")
        with serving({NAME: fake_model(fake, count_tokens=count)}) as port, client(port) as asking:
            found = asking.embeddings.create(model=NAME, input=["x"] * 70)
        assert [item.embedding for item in found.data] == [vector_of("x")] * 70
        assert found.usage.prompt_tokens == found.usage.total_tokens == 0

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
        monkeypatch.setattr(http_places, "MAX_CONNECTIONS", 0)
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
