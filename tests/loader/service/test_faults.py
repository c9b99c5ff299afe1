"""Services that die, freeze or are told to end, and clients that misbehave: callers still get the right vector."""

import os
import signal
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from loader.errors import ServiceTimeoutError, ServiceUnavailableError
from loader.service import control
from loader.service.protocol import EMBED, ERROR, HEADER, MAGIC, PROTOCOL_VERSION, pack_embed
from tests.loader.service.services import (
    PATIENT,
    TEXT,
    check,
    check_none_left,
    check_usable,
    connected,
    ended,
    frozen,
    greet,
    load,
    receive,
    served,
    until,
)

pytestmark = pytest.mark.real_model

GARBAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_FRAME = HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 1000) + b"half"
TWO_GIGABYTES = HEADER.pack(MAGIC, PROTOCOL_VERSION, EMBED, 0, 1, 2**31)


def killed_while_asked(service, asking, ask):
    """Kill the service once a request has been sent to it, and return what the request gives."""
    pid = service.pid()
    connection = asking._idle[-1]
    with ThreadPoolExecutor(1) as pool, frozen(pid):
        answer = pool.submit(ask)
        # The connection that was kept is in use, and the service, which stands still, has not read from it.
        until(lambda: connection not in asking._idle)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        return answer.result()


def test_a_service_killed_while_it_is_asked(service, provider):
    asking = load(None, **PATIENT)
    check(killed_while_asked(service, asking, lambda: asking.embed_query(TEXT)), provider)
    assert type(asking.fallback_reason) is ServiceUnavailableError
    assert asking.answered_by == "process"
    check_usable(service, provider)


def test_a_service_killed_while_it_is_asked_for_a_batch(service, provider):
    asking = load(None, **PATIENT)
    texts = [f"text {number}" for number in range(100)]
    vectors = killed_while_asked(service, asking, lambda: asking.embed_batch(texts))
    np.testing.assert_allclose(vectors, provider.embed_batch(texts), rtol=0, atol=1e-6)
    assert type(asking.fallback_reason) is ServiceUnavailableError


def test_a_killed_service_is_an_error_where_this_process_must_not_compute(service):
    asking = load(None, fallback=False, **PATIENT)
    with pytest.raises(ServiceUnavailableError):
        killed_while_asked(service, asking, lambda: asking.embed_query(TEXT))


def test_a_killed_service_is_replaced_by_a_caller_that_waits(service, provider):
    asking = served()
    before = service.pid()
    check(killed_while_asked(service, asking, lambda: asking.embed_query(TEXT)), provider)
    assert asking.answered_by == "service"
    assert service.pid() != before


# In the service's process: its thread ends, as by a fault that nobody knows, when a certain text waits.
_DIES = """
if "--adopt" in sys.orig_argv:
    from loader.service.server.batcher import Batcher
    def next_batch(self, real=Batcher._next_batch):
        if any("poison" in request.texts for request in self._queue):
            raise SystemExit
        return real(self)
    Batcher._next_batch = next_batch
"""


def test_a_service_whose_thread_has_ended_is_replaced(runtime, provider):
    with open(runtime.site / "sitecustomize.py", "a") as file:
        file.write(_DIES)
    bystander, asking = served(), load(None, **PATIENT)
    pid = runtime.pid()
    check(asking.embed_query("poison"), provider, "poison")
    assert type(asking.fallback_reason) is ServiceUnavailableError
    ended(pid)
    check(bystander.embed_query(TEXT), provider)
    assert bystander.answered_by == "service"
    assert check_usable(runtime, provider) != pid
    assert len(runtime.starts) == 2


def test_a_frozen_service_does_not_hold_up_a_provider_that_used_it(service, provider):
    asking = load(None, silence=0.5)
    with frozen(service.pid()):
        check(asking.embed_query(TEXT), provider)
        assert type(asking.fallback_reason) is ServiceTimeoutError
    check_usable(service, provider)


@pytest.mark.parametrize("start", ["detached", "wait", None])
def test_a_frozen_service_does_not_hold_up_a_load(service, provider, start):
    os.utime(service.socket, (0, 0))  # it is not one that has just been started
    with frozen(service.pid()):
        asking = load(start, silence=0.5)
        assert type(asking.fallback_reason) is ServiceTimeoutError
        check(asking.embed_query(TEXT), provider)
    assert len(service.starts) == 1
    check_usable(service, provider)


def test_a_frozen_service_is_an_error_where_this_process_must_not_compute(service):
    asking = load(None, fallback=False, silence=0.5)
    os.utime(service.socket, (0, 0))  # it is not one that has just been started
    with frozen(service.pid()):
        with pytest.raises(ServiceTimeoutError):
            asking.embed_query(TEXT)
        with pytest.raises(ServiceTimeoutError):
            load(None, fallback=False, silence=0.5)


def test_a_frozen_service_is_stopped_by_force_only(service, provider):
    pid = service.pid()
    with frozen(pid):
        (silent,) = control.running()
        assert silent.pid == pid
        assert type(silent.problem) is ServiceTimeoutError
        with pytest.raises(ServiceTimeoutError):
            control.stop(silent)
        control.stop(silent, force=True)
        ended(pid)
    check_none_left(service)
    assert check_usable(service, provider) != pid


def test_force_kills_nobody_but_who_listens_now(service, provider):
    pid = service.pid()
    with frozen(pid):
        (silent,) = control.running()
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        another = check_usable(service, provider)
        silent.pid = os.getpid()  # whatever the report said: the kernel is asked anew
        control.stop(silent, force=True)
    ended(another)
    check_none_left(service)


@pytest.mark.parametrize(
    "said", [b"", GARBAGE, HALF_A_FRAME, TWO_GIGABYTES], ids=["nothing", "garbage", "half a frame", "two gigabytes"]
)
@pytest.mark.parametrize("greeted", [False, True], ids=["at once", "after hello"])
def test_a_client_that_misbehaves_disturbs_nobody(service, provider, said, greeted):
    asking = served()
    with connected(service.socket) as bad:
        if greeted:
            greet(bad)
        bad.sendall(said)
        for number in range(5):
            check(asking.embed_query(f"text {number}"), provider, f"text {number}")
        if said in {GARBAGE, TWO_GIGABYTES}:
            header, _ = receive(bad)
            assert header.kind == ERROR
            assert bad.recv(1) == b""
    assert asking.answered_by == "service"
    assert len(service.starts) == 1


def test_clients_that_leave_before_their_answer_disturb_nobody(service, provider):
    asking = served()
    long = [b"and so on " * 20] * 64
    for _ in range(3):
        with connected(service.socket) as bad:
            greet(bad)
            bad.sendall(pack_embed(long, "document", 60.0))
            # Closed with a reset, so that the service's next write fails.
            bad.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        check(asking.embed_query(TEXT), provider)
    assert len(service.starts) == 1
    assert asking.answered_by == "service"


def test_a_client_that_does_not_read_its_answers_disturbs_nobody(service, provider):
    asking = served()
    with connected(service.socket) as bad:
        bad.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        greet(bad)
        bad.sendall(pack_embed([b"text"] * 64, "document", 60.0))
        for number in range(5):
            check(asking.embed_query(f"text {number}"), provider, f"text {number}")


def test_accepted_requests_are_answered_after_sigterm(service, provider):
    pid = service.pid()
    texts = [f"number {index} {'and so on ' * 40}" for index in range(16)]
    answers = {}
    providers = [served() for _ in range(4)]
    threads = [
        threading.Thread(target=lambda index=index: answers.update({index: providers[index].embed_batch(texts)}))
        for index in range(4)
    ]
    for thread in threads:
        thread.start()
    until(lambda: control.running()[0].report["counters"]["pending"] == 4)
    os.kill(pid, signal.SIGTERM)
    for thread in threads:
        thread.join()
    expected = provider.embed_batch(texts)
    for index in range(4):
        np.testing.assert_allclose(answers[index], expected, rtol=0, atol=1e-6)
    ended(pid)
    assert [asking.fallback_reason for asking in providers] == [None] * 4
    assert len(service.starts) == 1
    check_none_left(service)
    check_usable(service, provider)
