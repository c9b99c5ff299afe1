"""Asking a server over HTTP, as OpenAI's client and by hand."""

import http.client
import json

import openai

from tests.loader.service.http.fake import NAME, TOKEN, post, raw, vector_of

SECRET = "sesame-open"
"""A text that must show up nowhere."""

GOOD = {"model": NAME, "input": SECRET}


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
