"""One service, however many start it; another one for another version, another model, or after a violent end."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from loader.errors import ServiceMismatchError, ServiceUnavailableError
from loader.service import control
from loader.service.connection import Connection
from loader.service.protocol import ERROR, HELLO, pack, unpack_error
from loader.service.starting import claim
from tests.conftest import MINILM, ROOT
from tests.service.services import (
    PATIENT,
    TEXT,
    WAIT_S,
    check,
    check_none_left,
    check_usable,
    connected,
    ended,
    load,
    receive,
    served,
    until,
)

pytestmark = pytest.mark.real_model

CALLER = """
import sys
from loader import OptimizedEmbeddingLoader, ServiceOptions
start, fallback, text = sys.argv[1:]
options = ServiceOptions(start, fallback=fallback == "fallback", silence=60)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
print(provider.embed_query_bytes(text).hex(), provider.answered_by, type(provider.fallback_reason).__name__)
"""


def answers(processes):
    """Return what each of the callers printed: vector, who computed, and the type of the reason."""
    for process in processes:
        out, err = process.communicate(timeout=WAIT_S * 3)
        assert process.returncode == 0, err
        vector, answered_by, reason = out.split()
        yield np.frombuffer(bytes.fromhex(vector), "<f4"), answered_by, reason


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


def another_version(folder):
    """Copy the package, as an upgrade would install it, and return the folder that holds it."""
    shutil.copytree(ROOT / "loader", folder / "loader", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "loader" / "__init__.py"
    text = init.read_text()
    assert text.count('__version__ = "') == 1
    init.write_text(text.replace('__version__ = "', '__version__ = "9.9.9+'))
    return folder


def test_another_version_has_another_service(service, provider, script, tmp_path):
    old = service.pid()
    path = os.pathsep.join((str(service.site), str(another_version(tmp_path / "new"))))
    (answer,) = answers([script(CALLER, "wait", "no fallback", TEXT, PYTHONPATH=path)])
    check(answer[0], provider)
    assert answer[1] == "service"
    versions = {running.pid: running.report["version"] for running in control.running()}
    assert len(versions) == 2
    assert not versions.pop(old).startswith("9.9.9")
    assert next(iter(versions.values())).startswith("9.9.9")
    requests = {running.pid: running.report["counters"]["requests"] for running in control.running()}
    assert requests[old] == 0
    asking = served()
    check(asking.embed_query(TEXT), provider)
    assert {running.pid: running.report["counters"]["requests"] for running in control.running()}[old] == 1


def test_a_service_answers_no_hello_but_its_own(service):
    with connected(service.socket) as client:
        client.sendall(pack(HELLO, b"protocol 1\nversion 9.9.9"))
        header, payload = receive(client)
        assert header.kind == ERROR
        assert type(unpack_error(header, payload)) is ServiceMismatchError
        assert client.recv(1) == b""


def test_the_wrong_service_behind_the_right_name_is_not_used(service, provider, minilm_folder, tmp_path):
    """As where two identities had the same hash."""
    right, other = service.expected_socket(), tmp_path / "other"
    shutil.copytree(minilm_folder, other)
    asked = load(None, model=other)
    assert type(asked.fallback_reason) is ServiceUnavailableError
    os.symlink(right.name, service.expected_socket(other))
    asked = load(None, model=other)
    assert type(asked.fallback_reason) is ServiceMismatchError
    check(asked.embed_query(TEXT), provider)
    with pytest.raises(ServiceMismatchError):
        load(None, model=other, fallback=False)
    service.expected_socket(other).unlink()


def test_the_short_and_the_long_name_of_a_model_have_one_service(runtime, provider):
    names = ("all-MiniLM-L6-v2", MINILM)
    for name in names:
        asking = served(model=name)
        check(asking.embed_query(TEXT), provider)
        assert (asking.answered_by, asking.model_name) == ("service", name)
    assert [runtime.pid()] == runtime.starts
    assert len({runtime.expected_socket(name) for name in names}) == 1


def test_a_model_of_the_same_name_elsewhere_has_another_service(service, provider, minilm_folder, tmp_path):
    other = tmp_path / os.path.basename(MINILM)
    shutil.copytree(minilm_folder, other)
    asking = served(model=other)
    check(asking.embed_query(TEXT), provider)
    assert len(service.running()) == len(service.starts) == 2


def test_a_model_that_changes_on_disk_has_another_service(runtime, minilm_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder)
    asking = served(model=folder)
    before = asking.embed_query(TEXT)
    old = runtime.pid()
    halve_an_embedding(folder / "model.safetensors")
    expected = OptimizedEmbeddingLoader(folder, engine="numpy").load(timeout=WAIT_S).embed_query(TEXT)
    assert np.abs(expected - before).max() > 1e-3
    fresh = served(model=folder)
    np.testing.assert_allclose(fresh.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert fresh.answered_by == "service"
    ended(old)
    # A provider of the old state finds its service gone, and no other that is the same.
    np.testing.assert_allclose(asking_again(asking), expected, rtol=0, atol=1e-6)
    until(lambda: len(control.running()) == 1)
    assert [found.problem for found in control.running()] == [None]


def asking_again(asking):
    """Ask through a provider that must compute by itself if it has to."""
    asking._options.fallback = True
    return asking.embed_query(TEXT)


def halve_an_embedding(path):
    """Change some weights: the file stays as long as it was."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    numbers = np.frombuffer(data, "<f4", offset=start + (-start % 4), count=(len(data) - start) // 4 - 1)
    numbers[: len(numbers) // 2] *= np.float32(0.5)
    path.write_bytes(data)


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
    old, recent, others = (runtime.folder / name for name in ("old-1.log", "recent-2.log", "old-1.txt"))
    for path in (old, recent, others):
        path.touch(0o600)
    for path in (old, others):
        os.utime(path, (0, 0))
    check_usable(runtime, provider)
    assert [path.exists() for path in (old, recent, others)] == [False, True, True]


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


@pytest.fixture
def minilm_identity():
    from loader.arguments import Settings
    from loader.service.identity import identify

    return identify(Settings(MINILM, engine="numpy"), "float32")
