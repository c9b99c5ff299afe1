"""One service, however many start it, and a new one after a violent end."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader, ServiceOptions
from loader.arguments import Settings
from loader.errors import ServiceUnavailableError
from loader.service import client, control
from loader.service.claims import claim
from loader.service.connection import Connection
from loader.service.starting import arguments_of, spawn
from tests.conftest import MINILM, ROOT
from tests.loader.service.services import (
    CALLER,
    PATIENT,
    TEXT,
    WAIT_S,
    answers,
    check,
    check_none_left,
    check_usable,
    ended,
    load,
    until,
)
from tests.support.tiny_bert import make_tiny_bert

pytestmark = pytest.mark.real_model


@pytest.mark.slow
def test_fifty_callers_at_once_start_one_service(runtime, provider, script):
    callers = [script(CALLER, "detached", "fallback", f"text {number}") for number in range(50)]
    reasons = set()
    for number, (vector, answered_by, reason) in enumerate(answers(callers)):
        check(vector, provider, f"text {number}")
        reasons.add((answered_by, reason))
    assert len(runtime.starts) == 1
    # Too early to connect, connected too early for an answer, or in time.
    assert reasons <= {
        ("process", "ServiceUnavailableError"),
        ("process", "ServiceTimeoutError"),
        ("service", "NoneType"),
    }
    assert [check_usable(runtime, provider)] == runtime.starts


def test_twelve_callers_that_wait_for_it_start_one_service(runtime, provider, script):
    callers = [script(CALLER, "wait", "no fallback", f"text {number}") for number in range(12)]
    for number, (vector, answered_by, _) in enumerate(answers(callers)):
        check(vector, provider, f"text {number}")
        assert answered_by == "service"
    assert len(runtime.starts) == 1
    assert [runtime.pid()] == runtime.starts


def test_a_caller_that_waits_bears_with_a_service_that_is_still_imported(
    runtime, provider, minilm_identity, monkeypatch
):
    """As from a slow disk: another caller has made the socket, and nobody answers there for longer than usual."""
    monkeypatch.setattr(client, "STARTING_S", WAIT_S)
    options = ServiceOptions("wait", fallback=False, silence=0.1)
    held = claim(minilm_identity)
    waiting = OptimizedEmbeddingLoader(MINILM, "service", engine="numpy", service=options)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(waiting.load, timeout=WAIT_S)
        with pytest.raises(TimeoutError):
            asking.result(timeout=1)
        settings = Settings(MINILM, engine="numpy")
        spawn([held], arguments_of(settings, minilm_identity.model, options))
        check(asking.result().embed_query(TEXT), provider)
    assert len(runtime.starts) == 1


def test_what_a_killed_service_left_is_replaced(service, provider):
    pid = service.pid()
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert [path.suffix for path in sorted(service.folder.iterdir())] == [".lock", ".log", ".sock"]
    asking = load(None)
    assert type(asking.fallback_reason) is ServiceUnavailableError
    check(asking.embed_query(TEXT), provider)
    assert check_usable(service, provider) != pid


def test_what_a_killed_service_left_is_removed_by_a_look(service):
    pid = service.pid()
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert control.running() == []
    # The log stays: it may say why the service is gone.
    assert {path.suffix for path in service.folder.iterdir()} == {".log"}


def test_a_lock_that_nobody_holds_is_no_obstacle(runtime, provider):
    runtime.expected_socket().with_suffix(".lock").touch(0o600)
    check_usable(runtime, provider)


def test_a_lock_that_somebody_holds_is_waited_for_in_vain(runtime, provider, minilm_identity):
    held = claim(minilm_identity)
    held.unlink()
    asking = load("detached")
    assert type(asking.fallback_reason) is ServiceUnavailableError
    check(asking.embed_query(TEXT), provider)
    assert runtime.starts == []
    held.release()
    check_usable(runtime, provider)


def test_what_was_claimed_cannot_be_claimed_again(runtime, minilm_identity):
    first = claim(minilm_identity)
    assert claim(minilm_identity) is None
    first.release()
    second = claim(minilm_identity)
    second.release()
    assert list(runtime.folder.iterdir()) == []


def test_a_service_that_ends_at_once_is_not_started_for_ever(runtime, provider, script, tmp_path):
    """As an installation that is broken for the service only, or changed under the feet of its caller."""
    broken = tmp_path / "broken"
    broken.mkdir()
    site = (runtime.site / "sitecustomize.py").read_text()
    (broken / "sitecustomize.py").write_text(f"{site}\nif '--adopt' in sys.orig_argv: os._exit(3)")
    path = os.pathsep.join((str(broken), str(ROOT)))
    (answer,) = answers([script(CALLER, "wait", "fallback", TEXT, PYTHONPATH=path)])
    check(answer[0], provider)
    assert answer[1:] == ("process", "ServiceUnavailableError")
    assert 1 <= len(runtime.starts) <= 3
    check_usable(runtime, provider)


def test_a_model_that_a_service_cannot_load_is_said_once(runtime, tiny_model):
    from loader.errors import LoaderError, ServiceRefusedError

    with pytest.raises(LoaderError):
        load("wait", model=tiny_model, **PATIENT)
    with pytest.raises(ServiceRefusedError):
        load("wait", model=tiny_model, fallback=False, **PATIENT)


def test_a_folder_whose_name_looks_like_settings(runtime):
    """What stands between a name and settings on the command line of a service may be part of the name."""
    model = make_tiny_bert(runtime.home / "tiny,engine=onnx,threads=2")
    asking = load("wait", model=model, fallback=False, **PATIENT)
    expected = OptimizedEmbeddingLoader(model, engine="numpy").load(timeout=WAIT_S)
    check(asking.embed_query(TEXT), expected)
    assert asking.answered_by == "service"


@pytest.mark.parametrize("start", ["wait", "detached"])
def test_a_pipe_of_the_caller_is_not_kept_open_by_the_service(runtime, provider, script, start):
    caller = script(CALLER, start, "fallback", TEXT)
    out, err = caller.communicate(timeout=WAIT_S)  # to the end of both pipes
    assert caller.returncode == 0, err
    check(np.frombuffer(bytes.fromhex(out.split()[0]), "<f4"), provider)
    assert [check_usable(runtime, provider)] == runtime.starts


def test_other_descriptors_of_the_caller_are_not_kept_open_either(runtime, provider):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, "wait", "no fallback", TEXT], pass_fds=[write], stdout=subprocess.PIPE, cwd=ROOT
    )
    os.close(write)
    assert process.communicate(timeout=WAIT_S)[0]
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b""
    assert [runtime.pid()] == runtime.starts


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("start", ["wait", "detached"])
def test_the_folder_of_the_caller_is_not_kept_in_use(runtime, provider, script, start):
    (answer,) = answers([script(CALLER, start, "fallback", TEXT)])
    check(answer[0], provider)
    assert os.readlink(f"/proc/{check_usable(runtime, provider)}/cwd") == "/"


def test_a_setting_that_is_relative_to_the_folder_means_the_same_to_the_service(runtime, provider, script, tmp_path):
    relative = {"EMBEDDING_LOADER_CACHE": "cache"}
    (answer,) = answers([script(CALLER, "wait", "no fallback", TEXT, **relative)])
    check(answer[0], provider)
    assert answer[1] == "service"
    assert os.readlink(f"/proc/{runtime.pid()}/cwd") == str(tmp_path)


def test_logs_of_services_that_are_long_gone_are_removed(runtime, provider):
    names = ("old-0123456789abcdef.log", "recent-0123456789abcdef.log", "old-0123456789abcdef.txt", "my-server.log")
    old, recent, other, users = (runtime.folder / name for name in names)
    for path in (old, recent, other, users):
        path.touch(0o600)
    for path in (old, other, users):
        os.utime(path, (0, 0))
    check_usable(runtime, provider)
    assert [path.exists() for path in (old, recent, other, users)] == [False, True, True, True]


@pytest.mark.parametrize("ask", ["embed_query", "embed_query_bytes", "embed_batch"])
def test_a_service_for_the_next_is_started_with_the_first_vectors(runtime, provider, ask):
    """Not before: it would compete with the load that somebody waits for."""
    asking = load("detached")
    assert (asking.answered_by, runtime.starts, list(runtime.folder.iterdir())) == ("process", [], [])
    assert len(getattr(asking, ask)(TEXT if "query" in ask else [TEXT]))
    assert [check_usable(runtime, provider)] == runtime.starts
    asking.embed_query(TEXT)
    assert len(runtime.starts) == 1


def test_none_that_may_not_compute_waits_for_first_vectors(runtime, provider):
    with pytest.raises(ServiceUnavailableError):
        load("detached", fallback=False)
    assert [check_usable(runtime, provider)] == runtime.starts


def test_the_kernel_names_the_service_not_who_started_it(service):
    connection = Connection(service.socket, WAIT_S)
    assert [connection.peer_pid] == service.starts
    connection.close()


def test_it_ends_with_nothing_left(service):
    pid = service.pid()
    os.kill(pid, signal.SIGTERM)
    ended(pid)
    until(lambda: not service.processes())
    check_none_left(service)
