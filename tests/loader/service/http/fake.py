"""A running HTTP side in this process, with a small model whose vectors a test can predict."""

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
from dataclasses import dataclass, field

from loader.service.server.http import Access, HttpModel, run_http

TOKEN = "a-token-of-the-tests"
NAME = "makers/tiny-model"
DIMENSION = 4


def vectors_of(texts, kind) -> bytes:
    """Numbers that depend on every character and on the kind, of all magnitudes that float32 has."""
    digests = (hashlib.sha256(f"{kind}:{text}".encode()).digest() for text in texts)
    return b"".join(
        struct.pack("<4f", *(value * 2.0 ** (value % 200 - 100) / 3 for value in struct.unpack("<4h", digest[:8])))
        for digest in digests
    )


def vector_of(text, kind="document") -> list[float]:
    return list(struct.unpack("<4f", vectors_of([text], kind)))


@dataclass
class Fake:
    """Remembers the sizes of the batches it got; raises ``error`` where one is set; waits while ``hold``."""

    error: Exception | None = None
    returned: bytes | None = None
    hold: bool = False
    sizes: list[int] = field(default_factory=list)

    async def embed(self, texts, kind, deadline_s):
        assert 0 < deadline_s <= 600
        assert isinstance(texts, list)
        self.sizes.append(len(texts))
        await asyncio.sleep(0)
        while self.hold:
            await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return vectors_of(texts, kind) if self.returned is None else self.returned


def fake_model(fake, **further):
    return HttpModel(NAME, DIMENSION, fake.embed, **further)


@contextlib.contextmanager
def serving(models, access=None, **options):
    """Serve in a thread with a loop of its own; gives the port. The server's end, also by an error, is awaited."""
    started = threading.Event()
    found = {}

    def ready(port):
        found["port"] = port
        started.set()

    async def main():
        found["loop"], found["task"] = asyncio.get_running_loop(), asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):
            await run_http(models, access or Access(TOKEN), port=0, on_ready=ready, **options)

    def run():
        try:
            asyncio.run(main())
        except BaseException as error:
            found["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(60)
        assert "error" not in found, found
        yield found["port"]
    finally:
        if thread.is_alive():
            found["loop"].call_soon_threadsafe(found["task"].cancel)
        thread.join(60)
        assert not thread.is_alive()
    assert "error" not in found, found


def raw(port, data, *, host="127.0.0.1", end=False):
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection((host, port), timeout=60) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
        return received


def post(port, body, **headers):
    """Return the bytes of a POST that closes; a header that is None is left out."""
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"POST /v1/embeddings HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1") + body
