"""Somebody removes the socket or the lock of a service that runs: it is found again, and nobody removes another's."""

import os
import signal

import pytest

from loader.errors import ServiceUnavailableError
from loader.service import control
from loader.service.claims import claim, remove_leftover, take_turn
from loader.service.locks import Lock
from tests.loader.service.services import TEXT, check, check_none_left, ended, load, served, until

pytestmark = pytest.mark.real_model

_OFTEN = """
if "--adopt" in sys.orig_argv:
    from loader.service.server import main
    main.CHECK_EVERY_S = 0.05
"""


@pytest.fixture
def often(runtime, provider):
    """A folder where a service runs that looks often whether it is still found."""
    with open(runtime.site / "sitecustomize.py", "a") as file:
        file.write(_OFTEN)
    served()
    return runtime


def lock_of(runtime):
    return runtime.expected_socket().with_suffix(".lock")


def is_held(path):
    taken = Lock.take(str(path))
    if taken is not None:
        taken.close()
    return taken is None


def test_a_socket_that_was_removed_comes_back(often, provider):
    pid, asking = often.pid(), served()
    for _ in range(2):
        often.expected_socket().unlink()
        until(often.expected_socket().exists)
        assert often.pid() == pid
        check(asking.embed_query(TEXT), provider)  # its connection has stayed
        check(served().embed_query(TEXT), provider)
    assert often.starts == [pid]
    (service,) = often.running()
    control.stop(service)
    check_none_left(often)


def test_a_lock_that_was_removed_comes_back(often, provider):
    pid = often.pid()
    lock_of(often).unlink()
    until(lambda: lock_of(often).exists() and is_held(lock_of(often)))
    assert often.pid() == pid
    check(served().embed_query(TEXT), provider)
    assert often.starts == [pid]


def test_while_its_lock_is_gone_a_service_is_not_replaced(service, provider, minilm_identity):
    """It looks every five seconds; these come before."""
    pid = service.pid()
    lock_of(service).unlink()
    assert claim(minilm_identity) is None
    lock_of(service).unlink()
    assert not remove_leftover(service.socket)
    check(served().embed_query(TEXT), provider)
    assert [service.pid()] == service.starts == [pid]


def test_of_two_services_the_one_with_the_lock_stays(often, provider):
    """Whoever comes after socket and lock were removed cannot know that there is a service."""
    old = often.pid()
    os.kill(old, signal.SIGSTOP)  # it shall not mend this at once
    lock_of(often).unlink()
    often.expected_socket().unlink()
    check(served().embed_query(TEXT), provider)
    new = often.pid()
    os.kill(old, signal.SIGCONT)
    ended(old)
    assert often.pid() == new
    assert is_held(lock_of(often))
    check(served().embed_query(TEXT), provider)
    assert often.starts == [old, new]


def test_a_service_whose_folder_is_gone_ends(often, provider):
    pid = often.pid()
    often.folder.rename(often.home / "elsewhere")
    ended(pid)
    often.folder.mkdir(0o700)
    check(served().embed_query(TEXT), provider)


def test_nobody_removes_what_is_another_ones(runtime, minilm_identity):
    old = claim(minilm_identity)
    os.unlink(old.path)
    os.unlink(old.lock.path)
    new = claim(minilm_identity)
    with pytest.raises(ServiceUnavailableError, match="taken the place"):
        old.mend()
    old.release()
    assert not new.mend()
    assert is_held(new.lock.path)
    assert os.path.exists(new.path)
    new.release()
    new.release()
    assert os.listdir(runtime.folder) == []


def test_what_a_killed_starter_left_is_removed_by_a_look(runtime, minilm_identity):
    """It was killed after each of its steps."""
    path = runtime.expected_socket()
    for endings in [[".turn"], [".lock"], [".turn", ".lock"], [".turn", ".lock", ".new"], [".lock", ".sock"]]:
        for ending in endings:
            path.with_suffix(ending).touch(0o600)
        assert runtime.running() == []
        assert os.listdir(runtime.folder) == [], endings
    held = claim(minilm_identity)
    os.unlink(held.path)
    assert runtime.running() == []
    assert is_held(held.lock.path)
    held.release()


def test_a_name_as_long_as_it_may_be_beside_any_process_id(runtime, provider, minilm_identity, monkeypatch):
    """Every name that is made of it must fit into a socket's address as well."""
    room = 100 - len(str(runtime.folder / "x" / f"{minilm_identity.name}.sock"))
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(runtime.folder / ("x" * (room + 1))))
    monkeypatch.setattr(os, "getpid", lambda: 4194304)
    check(served().embed_query(TEXT), provider)
    (service,) = runtime.running()
    assert len(service.path) == 100
    control.stop(service)


def test_who_has_the_turn_is_the_next(runtime, provider, minilm_identity):
    turn = take_turn(minilm_identity)
    assert claim(minilm_identity) is None
    assert type(load("detached").fallback_reason) is ServiceUnavailableError
    held = claim(minilm_identity, turn)
    held.release()
    turn.release()
    assert os.listdir(runtime.folder) == []
