"""Connections that are held: by those who say nothing, or too slowly, or do not listen. Others are served meanwhile."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from itertools import repeat

import pytest

from loader.service.server import http_connection, http_places
from loader.service.server.http import HttpModel
from loader.service.server.room import Room
from tests.loader.service.http.asking import GOOD, alive, answer, ask, get
from tests.loader.service.http.fake import NAME, TOKEN, Fake, fake_model, post, serving

pytestmark = pytest.mark.process

WAIT_S = 60
"""A hang ends so; nothing is asserted about time."""
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ANOTHER_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
held = [socket.socket() for _ in range(int(sys.argv[2]))]
for connection in held:
    connection.connect(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
sys.stdin.read()
"""

LEAVES = """
import http.client, sys
for _ in range(100):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
    connection.request("POST", "/v1/embeddings", b"{}", {"Authorization": "Bearer no-token"})
    connection.getresponse()
    connection.close()
"""
"""A client that goes as soon as it has an answer's header, and so resets the connection: the body is on its way."""


@contextlib.contextmanager
def connections(port, count, said=b""):
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)))
            with contextlib.suppress(ConnectionError):
                found[-1].sendall(said)
        yield found


def is_closed(connection) -> bool:
    """Whether the server ends a connection, sooner or later."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


def send_until_closed(connection, pieces, pause_s=0.0) -> None:
    """Send some pieces until the server ends the connection, and assert that it does."""
    deadline_s = time.monotonic() + WAIT_S
    try:
        for piece in pieces:
            assert time.monotonic() < deadline_s, "the server goes on"
            connection.sendall(piece)
            time.sleep(pause_s)
    except ConnectionError:
        return
    raise AssertionError("the server took all of it")


def until(condition):
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.01)


def request(port, method="GET", path="/health", **headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


class TestAllPlacesTaken:
    @pytest.mark.parametrize("said", ["nothing", "half a header", "a body without the token", "many requests"])
    def test_by_connections_without_the_token(self, own, said):
        words = {
            "nothing": b"",
            "half a header": request(own)[:-2],
            "a body without the token": request(own, "POST", "/v1/embeddings", **{"Content-Length": 10**9}) + b"{",
            "many requests": request(own) * 100,
        }
        with connections(own, http_places.MAX_CONNECTIONS + 50, words[said]):
            assert get(own, "/health", Authorization="") == (200, {"status": "ready"})
            alive(own)

    def test_who_has_shown_the_token_stays(self, own, monkeypatch):
        monkeypatch.setattr(http_places, "MAX_CONNECTIONS", 4)
        known = http.client.HTTPConnection("127.0.0.1", own, timeout=WAIT_S)
        for _ in range(3):
            known.request("GET", "/v1/models", headers=AUTHORIZED)
            assert known.getresponse().read()
            port = known.sock.getsockname()[1]
            with connections(own, 20):
                alive(own)
        known.request("GET", "/v1/models", headers=AUTHORIZED)
        assert known.getresponse().status == 200
        assert known.sock.getsockname()[1] == port, "it is still the same connection"
        known.close()

    @pytest.mark.parametrize("path", ["/health", "/v1/models"])
    def test_what_is_no_token_gives_no_place(self, own, monkeypatch, path):
        monkeypatch.setattr(http_places, "MAX_CONNECTIONS", 4)
        with connections(own, 1, request(own, path=path, Authorization="Bearer wrong")) as (stranger,):
            assert stranger.recv(65536)
            with connections(own, 20):
                alive(own)
                assert is_closed(stranger)

    def test_requests_that_are_answered_are_not_ended(self, monkeypatch):
        monkeypatch.setattr(http_places, "MAX_CONNECTIONS", 2)
        fake = Fake(hold=True)
        with serving({NAME: fake_model(fake)}) as port:
            with connections(port, 2, post(port, json.dumps(GOOD).encode())) as asking:
                until(lambda: len(fake.sizes) == 2)
                with connections(port, 3) as late:
                    assert all(is_closed(connection) for connection in late)
                fake.hold = False
                assert [answer(connection.makefile("rb").read())[0] for connection in asking] == [200, 200]
            alive(port)

    @pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to become another user")
    def test_another_user_pushes_out_nobody_else(self, own, monkeypatch):
        monkeypatch.setattr(http_places, "MAX_CONNECTIONS", 8)
        with connections(own, 2) as mine:
            words = [sys.executable, "-c", ANOTHER_USER, str(own), "40"]
            with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
                assert stranger.stdout.readline() == b"connected\n"
                alive(own)
                for connection in mine:  # older than all of the stranger's
                    connection.sendall(request(own, Connection="close"))
                    assert answer(connection.makefile("rb").read())[0] == 200
                stranger.stdin.close()


class TestSlowClients:
    @pytest.mark.parametrize("said", ["nothing", "half a header", "a request and half of another one"])
    def test_a_header_that_does_not_arrive(self, own, monkeypatch, said):
        monkeypatch.setattr(http_connection, "HEADER_S", 0.2)
        words = {"nothing": b"", "half a header": request(own)[:-2]}
        with connections(own, 1, words.get(said, request(own) + request(own)[:-2])) as (slow,):
            assert is_closed(slow)
        alive(own)

    def test_a_header_that_arrives_byte_by_byte(self, own, monkeypatch):
        monkeypatch.setattr(http_connection, "HEADER_S", 0.3)
        said = request(own, Filler="x" * 6000)
        with connections(own, 1) as (slow,):
            send_until_closed(slow, (bytes([byte]) for byte in said), pause_s=0.02)
        alive(own)

    def test_a_header_may_take_its_time(self, own):
        with connections(own, 1) as (slow,):
            for byte in request(own, Connection="close"):
                slow.send(bytes([byte]))
            assert answer(slow.makefile("rb").read())[0] == 200

    @pytest.mark.parametrize("token", ["wrong", TOKEN])
    @pytest.mark.parametrize("body", ["of known length", "in chunks"])
    def test_a_body_that_nobody_reads(self, own, monkeypatch, token, body):
        """It is refused at once, and what is sent all the same is dropped for a while only."""
        monkeypatch.setattr(http_connection, "PARTING_S", 0.3)
        framing = {"Content-Length": 10**6} if body == "of known length" else {"Transfer-Encoding": "chunked"}
        path, status = ("/v1/embeddings", 401) if token == "wrong" else ("/v1/models", 405)
        said = request(own, "POST", path, Authorization=f"Bearer {token}", **framing)
        with connections(own, 1, said) as (slow,):
            received = slow.makefile("rb").read()  # to its end: the server has nothing more to say
            assert answer(received)[0] == status
            send_until_closed(slow, repeat(b"1\r\nx\r\n"), pause_s=0.02)
        alive(own)

    @pytest.mark.parametrize(("token", "status"), [("wrong", 401), (TOKEN, 400)])
    def test_a_body_is_not_even_parsed_before_the_token_was_right(self, own, token, status):
        """What is no chunk is noticed by who parses it; parsing tiny ones takes long."""
        framing = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        said = request(own, "POST", "/v1/embeddings", Authorization=f"Bearer {token}", **framing) + b"no chunk\r\n"
        with connections(own, 1, said) as (connection,):
            assert answer(connection.makefile("rb").read())[0] == status
        alive(own)

    def test_a_body_without_end_that_nobody_reads(self, own, monkeypatch):
        monkeypatch.setattr(http_connection, "PARTING_S", WAIT_S)
        said = request(own, "POST", "/v1/embeddings", **{"Transfer-Encoding": "chunked"})
        with connections(own, 1, said) as (endless,):
            send_until_closed(endless, repeat(b"1\r\nx\r\n" * 100_000))
        alive(own)

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors as Linux shows them")
    def test_clients_that_reset_their_connection_leave_no_descriptor(self, own):
        before = len(os.listdir("/proc/self/fd"))
        subprocess.run([sys.executable, "-c", LEAVES, str(own)], check=True, timeout=WAIT_S)
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        alive(own)

    @pytest.mark.parametrize("kind", ["an answer", "many answers"])
    def test_a_client_that_does_not_take_its_answer(self, monkeypatch, kind):
        monkeypatch.setattr(http_connection, "TAKE_S", 0.3)
        room, fake = Room(), Fake(returned=bytes(64 * 4 * 1024))
        texts = ["x"] * 2048  # ten megabytes of answer, more than the kernel keeps for a client
        with serving({NAME: HttpModel(NAME, 1024, fake.embed)}, room=room) as port, socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(WAIT_S)
            deaf.connect(("127.0.0.1", port))
            if kind == "an answer":
                deaf.sendall(post(port, json.dumps({"model": NAME, "input": texts}).encode(), Connection="keep-alive"))
                until(lambda: sum(fake.sizes) == len(texts))
                assert room.held_bytes
                until(lambda: room.held_bytes == 0)
            else:
                send_until_closed(deaf, repeat(request(port, path="/v1/models", **AUTHORIZED) * 1000))
            assert get(port, "/health") == (200, {"status": "ready"})

    def test_many_requests_at_once_are_answered_in_their_order(self, own):
        """Only for those who have the token: others get one answer for what they send at once."""
        said = request(own, path="/v1/models", **AUTHORIZED) * 300 + request(own, Connection="close")
        with connections(own, 1, said) as (early,):
            received = early.makefile("rb").read()
        assert received.count(b"HTTP/1.1 200 OK") == 301
        with connections(own, 1, request(own) * 300) as (early,):
            assert early.recv(65536).count(b"HTTP/1.1 200 OK") == 1
            assert is_closed(early)


class TestRoom:
    def test_requests_beyond_it_are_told_to_come_again(self):
        room, fake = Room(100_000), Fake(hold=True)
        body = json.dumps({"model": NAME, "input": "ж" * 20_000}, ensure_ascii=False).encode()
        with serving({NAME: fake_model(fake)}, room=room) as port:
            with connections(port, 1, post(port, body)) as (first,):
                until(lambda: fake.sizes)
                assert 40_000 < room.held_bytes < 45_000
                for form in ({}, {"Content_Length": None, "Transfer_Encoding": "chunked"}):
                    late = body * 2 if not form else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) * 2, body * 2)
                    status, headers, found = ask(port, late, **form)
                    assert status == 429
                    assert headers["retry-after"] == "1"
                    assert found["error"]["code"] == "rate_limit_exceeded"
                fake.hold = False
                assert answer(first.makefile("rb").read())[0] == 200
            until(lambda: room.held_bytes == 0)
            assert ask(port, body)[0] == 200, "there is room again"
            until(lambda: room.held_bytes == 0)

    @pytest.mark.parametrize("form", ["float", "base64"])
    def test_answers_count_as_well(self, form):
        fake = Fake(hold=True)
        room = Room()
        asked = {"model": NAME, "input": ["x"] * 64, "encoding_format": form}
        with serving({NAME: fake_model(fake)}, room=room) as port:
            with connections(port, 1, post(port, json.dumps(asked).encode())) as (connection,):
                until(lambda: fake.sizes)
                held = room.held_bytes
                fake.hold = False
                body = connection.makefile("rb").read().partition(b"\r\n\r\n")[2]
            assert len(body) < held
            until(lambda: room.held_bytes == 0)

    def test_who_is_alone_always_has_room(self):
        with serving({NAME: fake_model(Fake())}, room=Room(1)) as port:
            alive(port)
