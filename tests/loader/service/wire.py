"""A client of the service's protocol for tests, on asyncio's streams, and a service around any provider."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from loader.service.protocol import (
    EMBED,
    HEADER,
    HELLO,
    VECTORS,
    WELCOME,
    WORKING,
    pack,
    pack_embed,
    unpack_error,
    unpack_header,
    unpack_welcome,
)
from loader.service.server.batcher import Batcher
from loader.service.server.conversation import Times
from loader.service.server.counters import Counters
from loader.service.server.listener import ModelServer
from loader.service.server.slot import Slot

IDENTITY = "protocol 1\nmodel tests"
WAIT_S = 60
"""A hang ends so; nothing is asserted about time."""


@contextlib.contextmanager
def socket_folder():
    """A folder with a path short enough for a socket's name."""
    folder = tempfile.mkdtemp(dir="/tmp")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(100)
    return listener


class Held:
    """The real provider, which does not compute before ``go`` is set, and notes what it is asked for."""

    def __init__(self, provider) -> None:
        self._provider = provider
        self.calls: list[tuple[str, list[str]]] = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def __getattr__(self, name):
        return getattr(self._provider, name)

    def embed_texts_bytes(self, texts, kind, batch_size):
        self.calls.append((kind, list(texts)))
        self.begun.set()
        assert self.go.wait(WAIT_S)
        return self._provider.embed_texts_bytes(texts, kind, batch_size)


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    working: int = 0
    opened: ClassVar[list[Client]] = []

    @classmethod
    async def connect(cls, path: str) -> Client:
        client = cls(*await asyncio.open_unix_connection(path))
        cls.opened.append(client)
        return client

    @classmethod
    async def close_all(cls) -> None:
        while cls.opened:
            await cls.opened.pop().close()

    @classmethod
    async def greet(cls, path: str, identity: str = IDENTITY) -> Client:
        client = await cls.connect(path)
        client.welcome = unpack_welcome(await client.ask(pack(HELLO, identity.encode()), WELCOME))
        return client

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self):
        """The next frame but WORKING; None at the end of the connection."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    header = unpack_header(await self.reader.readexactly(HEADER.size))
                    payload = await self.reader.readexactly(header.length)
                except (asyncio.IncompleteReadError, ConnectionError):
                    return None
                if header.kind != WORKING:
                    return header, payload
                self.working += 1

    async def ask(self, frame: bytes, expected: int) -> bytes:
        await self.send(frame)
        answer = await self.receive()
        assert answer is not None, "the connection was closed"
        header, payload = answer
        if header.kind != expected:
            raise unpack_error(header, payload)
        return payload

    async def embed(self, texts, kind="query", deadline_s=WAIT_S):
        frame = pack_embed([text.encode() for text in texts], kind, deadline_s)
        assert unpack_header(frame[: HEADER.size]).kind == EMBED
        return np.frombuffer(await self.ask(frame, VECTORS), "<f4").reshape(len(texts), -1)

    async def error(self):
        """The error that comes before the end of the connection."""
        answer = await self.receive()
        assert answer is not None, "the connection was closed without a word"
        assert await self.receive() is None
        return unpack_error(*answer)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Service:
    """What a test sees of the service it talks to."""

    path: str
    server: ModelServer
    slot: Slot
    counters: Counters
    batcher: Batcher | None = None
    stops: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def serving(provider, *, times=Times(), max_connections=256, room=None, **options):  # noqa: B008
    """A service of the provider, or of one that is not loaded yet where it is None."""
    with socket_folder() as folder:
        path = os.path.join(folder, "s")
        slot, counters, stops = Slot(), Counters(), []
        with listen(path) as listener:
            server = ModelServer(
                listener,
                IDENTITY,
                slot,
                counters,
                lambda: {"state": slot.state},
                stops.append,
                times=times,
                room=room,
                max_connections=max_connections,
            )
            await server.start()
        service = Service(path, server, slot, counters, stops=stops)
        if provider is not None:
            fill(service, provider, **options)
        try:
            yield service
        finally:
            server.stop_accepting()
            if service.batcher is not None:
                await asyncio.wait_for(service.batcher.drain(), WAIT_S)
            await asyncio.wait_for(server.finish(), WAIT_S)
            await server.close()
            await Client.close_all()


def fill(service: Service, provider, **options) -> None:
    """Make the model available."""
    service.batcher = Batcher(provider, service.counters, **options)
    service.batcher.start()
    service.slot.fill(service.batcher, provider)


async def until(condition) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)
