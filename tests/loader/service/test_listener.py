"""Connections, good and bad: whatever one of them does, the others are served."""

import asyncio
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from loader.errors import (
    ModelNotFoundError,
    ServiceBusyError,
    ServiceMismatchError,
    ServiceProtocolError,
    ServiceRefusedError,
    ServiceTimeoutError,
)
from loader.service.protocol import (
    EMBED,
    HEADER,
    HELLO,
    MAGIC,
    MAX_IDENTITY_BYTES,
    PROTOCOL_VERSION,
    REPORT,
    STATUS,
    STOP,
    STOPPING,
    VECTORS,
    WELCOME,
    WORKING,
    pack,
    pack_embed,
)
from loader.service.server.conversation import Times
from loader.service.server.room import Room
from tests.loader.service.wire import IDENTITY, WAIT_S, Client, Held, fill, serving, until

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this system"),
]

SHORT = Times(first_frame_s=0.1, frame_s=0.1, write_s=0.1, working_every_s=0.01)
SMALL_BUFFER_BYTES = 4096


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * WAIT_S))


async def check_serves(service, provider):
    """Somebody new is served."""
    client = await Client.greet(service.path)
    assert np.array_equal((await client.embed(["still there"]))[0], provider.embed_query("still there"))
    await client.close()


def test_vectors_over_the_socket_are_those_of_the_provider(provider):
    async def main():
        async with serving(provider) as service:
            client = await Client.greet(service.path)
            assert client.welcome.dimension == provider.dimension
            assert client.welcome.max_seq_length == provider.max_seq_length
            assert client.welcome.engine == provider.engine
            assert client.welcome.precision == "float32"
            texts = ["database connection", "", "Grüße 🙂", "long " * 2000]
            for text in texts:
                assert np.array_equal((await client.embed([text]))[0], provider.embed_query(text))
            got = await client.embed(texts, "document")
            await client.close()
            await until(lambda: service.counters.connections == 0)
            return got, service.counters

    got, counters = run(main())
    assert np.array_equal(got, provider.embed_batch(["database connection", "", "Grüße 🙂", "long " * 2000]))
    assert (counters.requests, counters.texts, counters.connections_total) == (5, 8, 1)


def test_many_callers_each_get_their_own_vector(provider):
    texts = [f"caller {number} wants this {'and that ' * (number % 7)}" for number in range(64)]

    async def main():
        async with serving(provider) as service:
            clients = await asyncio.gather(*[Client.greet(service.path) for _ in texts])
            asking = [client.embed([text]) for client, text in zip(clients, texts, strict=True)]
            answers = await asyncio.gather(*asking)
            await asyncio.gather(*[client.close() for client in clients])
            return answers, service.counters

    answers, counters = run(main())
    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_allclose(answer[0], provider.embed_query(text), atol=1e-5)
    assert counters.requests == 64


def test_a_full_queue_is_told_and_the_connection_goes_on(provider):
    async def main():
        held = Held(provider)
        async with serving(held, max_queued_texts=1) as service:
            clients = [await Client.greet(service.path) for _ in range(3)]
            first = asyncio.create_task(clients[0].embed(["a"]))
            await until(held.begun.is_set)
            second = asyncio.create_task(clients[1].embed(["b"]))
            await until(lambda: service.batcher.queued_texts == 1)
            with pytest.raises(ServiceBusyError):
                await clients[2].embed(["c"])
            held.go.set()
            await asyncio.gather(first, second)
            assert (await clients[2].embed(["c"])).shape == (1, 384)

    run(main())


@pytest.mark.parametrize("text", ["ж" * 90_000, "x" * 90_000 + "🎈"], ids=["two bytes a character", "one needs four"])
def test_bytes_beyond_the_room_are_told_and_the_connection_goes_on(provider, text):
    """Texts are counted as they lie in memory, from the first byte that arrives until the answer has been taken."""

    async def main():
        held, room = Held(provider), Room(2_000_000)
        async with serving(held, room=room) as service:
            first, second, third = [await Client.greet(service.path) for _ in range(3)]
            answer = asyncio.create_task(first.embed([text] * 3))
            await until(held.begun.is_set)
            in_memory = 3 * (len(text.encode()) + len(text) * (2 if "ж" in text else 4))
            assert in_memory <= room.held_bytes < in_memory + 1000
            for texts in ([text] * 30, [text] * 8):  # too many bytes to arrive, and too many once they are texts
                with pytest.raises(ServiceBusyError, match="bytes"):
                    await second.embed(texts)
            assert service.counters.busy == 2
            assert service.batcher.queued_texts == 0
            half = pack_embed([b"x" * 100_000] * 5, "query", WAIT_S)
            await third.send(half[:1000])  # the rest has its place already
            await until(lambda: room.held_bytes > in_memory + 400_000)
            await third.close()
            held.go.set()
            assert (await answer).shape == (3, 384)
            await until(lambda: room.held_bytes == 0)
            assert (await second.embed([text] * 8)).shape == (8, 384)
            await until(lambda: room.held_bytes == 0)

    run(main())


def test_a_deadline_is_kept_and_the_connection_goes_on(provider):
    async def main():
        held = Held(provider)
        async with serving(held, times=SHORT) as service:
            slow, hurried = await Client.greet(service.path), await Client.greet(service.path)
            first = asyncio.create_task(slow.embed(["slow"]))
            await until(held.begun.is_set)
            with pytest.raises(ServiceTimeoutError):
                await hurried.embed(["hurried"], deadline_s=0.05)
            held.go.set()
            await first
            assert slow.working > 0
            await hurried.embed(["with more time"])
            assert ["hurried"] not in [texts for _, texts in held.calls]

    run(main())


def test_too_many_texts_are_refused_and_the_connection_goes_on(provider):
    async def main():
        async with serving(provider) as service:
            client = await Client.greet(service.path)
            with pytest.raises(ServiceRefusedError, match="64"):
                await client.embed(["a"] * 65)
            assert (await client.embed(["a"] * 64)).shape == (64, 384)

    run(main())


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", ServiceProtocolError),  # nothing, for too long
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ServiceProtocolError),
        (pack(STATUS)[:-1], ServiceProtocolError),  # half a frame
        (pack(HELLO, IDENTITY.encode())[:-1], ServiceProtocolError),
        (HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 2**31), ServiceProtocolError),
        (HEADER.pack(MAGIC, PROTOCOL_VERSION, HELLO, 0, 0, MAX_IDENTITY_BYTES + 1), ServiceProtocolError),
        (HEADER.pack(MAGIC, PROTOCOL_VERSION, STATUS, 0, 0, 1), ServiceProtocolError),
        (HEADER.pack(MAGIC, PROTOCOL_VERSION + 1, HELLO, 0, 0, 0), ServiceMismatchError),
        (pack(VECTORS), ServiceProtocolError),  # what only a service says
        (pack(WORKING), ServiceProtocolError),
        (pack_embed([b"no hello"], "query", 1.0), ServiceProtocolError),
        (pack(HELLO, IDENTITY.encode() + b" "), ServiceMismatchError),
        (pack(HELLO, IDENTITY.encode()[:-1]), ServiceMismatchError),
        (pack(HELLO), ServiceMismatchError),
    ],
)
def test_what_is_wrong_at_the_beginning_ends_the_connection(provider, said, error):
    async def main():
        async with serving(provider, times=SHORT) as service:
            client = await Client.connect(service.path)
            await client.send(said)
            assert type(await client.error()) is error
            counters = service.counters
            expected = (1, 0) if error is ServiceMismatchError else (0, 1)
            assert (counters.mismatches, counters.protocol_errors) == expected
            await until(lambda: counters.connections == 0)
            await check_serves(service, provider)
            await client.close()

    run(main())


@pytest.mark.parametrize(
    "said",
    [
        b"\0" * HEADER.size,
        pack(STATUS)[:5],
        pack_embed([b"a text"], "query", 1.0)[:-1],
        pack(HELLO, IDENTITY.encode()),  # once more
        HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 4) + b"\0" * 4,  # no length of the text
        HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 9, 1, 8) + b"\0" * 8,  # no such kind of text
        HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 9) + b"\0" * 4 + b"\1\0\0\0" + b"\xff",  # no UTF-8
    ],
)
def test_what_is_wrong_later_ends_the_connection(provider, said):
    async def main():
        async with serving(provider, times=SHORT) as service:
            client = await Client.greet(service.path)
            await client.send(said)
            assert type(await client.error()) is ServiceProtocolError
            await check_serves(service, provider)
            await client.close()

    run(main())


def test_a_connection_may_be_idle_between_requests(provider):
    async def main():
        async with serving(provider, times=SHORT) as service:
            client = await Client.greet(service.path)
            await client.embed(["a"])
            await asyncio.sleep(5 * SHORT.first_frame_s)
            await client.embed(["b"])

    run(main())


def test_a_second_request_before_the_answer_is_answered_after_it(provider):
    async def main():
        held = Held(provider)
        async with serving(held) as service:
            client = await Client.greet(service.path)
            await client.send(pack_embed([b"a"], "query", WAIT_S))
            await until(held.begun.is_set)
            await client.send(pack(STATUS))
            held.go.set()
            kinds = [(await client.receive())[0].kind for _ in range(2)]
            assert kinds == [VECTORS, REPORT]

    run(main())


def test_a_client_that_leaves_takes_its_request_along(provider):
    async def main():
        held = Held(provider)
        async with serving(held) as service:
            first, leaving = await Client.greet(service.path), await Client.greet(service.path)
            answer = asyncio.create_task(first.embed(["stays"]))
            await until(held.begun.is_set)
            await leaving.send(pack_embed([b"leaves"], "query", WAIT_S))
            await until(lambda: service.batcher.queued_texts == 1)
            await leaving.close()
            await until(lambda: service.counters.cancelled == 1)
            assert service.batcher.queued_texts == 0
            held.go.set()
            await answer
            await check_serves(service, provider)
            assert ["leaves"] not in [texts for _, texts in held.calls]

    run(main())


def test_a_client_that_does_not_take_its_answer_is_dropped(provider):
    async def main():
        async with serving(provider, times=SHORT) as service:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lazy:
                # Whatever the kernel holds for it is soon full.
                lazy.setblocking(False)
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(lazy, service.path)
                await loop.sock_sendall(lazy, pack(HELLO, IDENTITY.encode()))
                await until(lambda: service.counters.connections == 1)
                request = pack_embed([b"a"] * 64, "document", WAIT_S)
                sent = 0
                try:
                    while service.counters.connections and sent < 100:
                        await asyncio.wait_for(loop.sock_sendall(lazy, request), WAIT_S)
                        sent += 1
                        await until(lambda: service.counters.answered == sent or not service.counters.connections)  # noqa: B023
                        await asyncio.sleep(0.05)  # its answer is on its way, before the next request may come
                except ConnectionError:
                    pass
                await until(lambda: service.counters.connections == 0)
            assert 1 < sent < 100
            assert service.counters.protocol_errors == 0
            await check_serves(service, provider)

    run(main())


def test_too_many_connections_are_told(provider):
    async def main():
        async with serving(provider, max_connections=3) as service:
            clients = [await Client.greet(service.path) for _ in range(3)]
            surplus = await Client.connect(service.path)
            assert type(await surplus.error()) is ServiceBusyError
            await clients[0].close()
            await until(lambda: service.counters.connections == 2)
            await check_serves(service, provider)
            assert service.counters.busy == 1

    run(main())


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to become another user")
def test_another_user_is_not_answered(provider):
    code = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(100))"
    )

    async def main():
        async with serving(provider) as service:
            os.chmod(os.path.dirname(service.path), 0o755)
            os.chmod(service.path, 0o777)
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-S", "-E", "-c", code, service.path],
                capture_output=True,
                text=True,
                timeout=WAIT_S,
            )
            assert (done.stdout.strip(), done.stderr) == ("b''", "")
            assert (service.counters.strangers, service.counters.connections_total) == (1, 0)
            await check_serves(service, provider)

    run(main())


def test_status_needs_no_hello_and_no_model(provider):
    async def main():
        async with serving(None) as service:
            client = await Client.connect(service.path)
            assert json.loads(await client.ask(pack(STATUS), REPORT)) == {"state": "loading"}
            fill(service, provider)
            assert json.loads(await client.ask(pack(STATUS), REPORT)) == {"state": "ready"}
            await client.ask(pack(HELLO, IDENTITY.encode()), WELCOME)  # the same connection may go on
            await client.embed(["a"])

    run(main())


def test_whoever_comes_before_the_model_is_told_to_wait(provider):
    async def main():
        async with serving(None, times=SHORT) as service:
            client = await Client.connect(service.path)
            welcome = asyncio.create_task(client.ask(pack(HELLO, IDENTITY.encode()), WELCOME))
            await until(lambda: client.working >= 3)
            fill(service, provider)
            await welcome
            await client.embed(["a"])

    run(main())


def test_a_model_that_cannot_be_loaded_is_told_to_those_who_wait_and_who_come():
    async def main():
        async with serving(None, times=SHORT) as service:
            waiting = await Client.connect(service.path)
            welcome = asyncio.create_task(waiting.ask(pack(HELLO, IDENTITY.encode()), WELCOME))
            await until(lambda: waiting.working >= 1)
            service.slot.fail(ModelNotFoundError("It is nowhere."))
            with pytest.raises(ServiceRefusedError, match="It is nowhere"):
                await welcome
            with pytest.raises(ServiceRefusedError, match="It is nowhere"):
                await Client.greet(service.path)

    run(main())


def test_who_asks_for_the_end_need_not_stay(provider):
    async def main():
        async with serving(provider) as service:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as brief:
                brief.connect(service.path)  # the event loop has not accepted it before it is closed again
                brief.sendall(pack(STOP))
            await until(lambda: service.stops)

    run(main())


def test_stop_is_acknowledged_and_its_connection_ends_last(provider):
    async def main():
        held = Held(provider)
        async with serving(held) as service:
            asking, idle, stopping = [await Client.greet(service.path) for _ in range(3)]
            answer = asyncio.create_task(asking.embed(["accepted before"]))
            await until(held.begun.is_set)
            await stopping.ask(pack(STOP), STOPPING)
            assert service.stops == ["a client asked for it"]
            service.server.stop_accepting()
            assert await idle.receive() is None
            with pytest.raises(OSError, match=r"refused|No such file"):
                await Client.connect(service.path)
            end = asyncio.create_task(stopping.receive())
            finished = asyncio.create_task(service.server.finish())
            await asyncio.sleep(0.05)
            assert not end.done()
            assert not finished.done()
            held.go.set()
            vector = (await answer)[0]
            await finished
            assert np.array_equal(vector, provider.embed_query("accepted before"))
            assert await asking.receive() is None
            await service.server.close()
            assert await end is None

    run(main())
