"""The commands around services, as a user calls them: serve, status, stop, restart, and embed through one."""

import json
import os
import signal
import socket

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from tests.conftest import MINILM
from tests.loader.service.services import TEXT, WAIT_S, check, check_none_left, check_usable, ended, frozen, until
from tests.support.tiny_bert import make_tiny_bert

pytestmark = pytest.mark.real_model

WHAT = (f"--model={MINILM}", "--engine=numpy")


@pytest.fixture
def command(script):
    """Run a command to its end: ``command("stop", "--force")`` returns exit code, output and errors."""

    def run(*words):
        process = script("", "-m", "loader", *words)
        out, err = process.communicate(timeout=WAIT_S)
        return process.returncode, out, err

    return run


@pytest.fixture
def detached(command, runtime):
    """A folder where ``serve --detach`` has started a service."""
    code, out, err = command("serve", "--detach", *WHAT, "--idle-timeout=1000", "--queue=99")
    assert (code, err) == (0, "")
    assert out.startswith(f"{MINILM}: numpy, float32, cpu; process ")
    assert [int(out.split()[-1])] == runtime.starts == [runtime.pid()]
    return runtime


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_it_is_interrupted(runtime, provider, script, number):
    process = script("", "-m", "loader", "serve", *WHAT)
    until(lambda: any(found.report.get("state") == "ready" for found in runtime.running()))
    assert runtime.pid() == process.pid
    check_usable(runtime, provider)
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (0, "")
    assert f"signal {number.name}" in err
    check_none_left(runtime)


def test_serve_twice_is_an_error(detached, command, provider):
    for words in ((), ("--detach",)):
        code, out, err = command("serve", *WHAT, *words)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: A service for {MINILM} is already running.")
    assert len(detached.starts) == 1
    check_usable(detached, provider)


def test_serve_a_model_that_is_nowhere_is_an_error(runtime, command):
    for words in ((), ("--detach",)):
        code, _, err = command("serve", "--model=./nowhere", "--engine=numpy", *words)
        assert (code, err.splitlines()[-1][:7]) == (1, "error: ")
    assert runtime.starts == []


def test_serve_a_model_that_cannot_be_loaded_is_an_error(runtime, command, tiny_model):
    code, _, err = command("serve", f"--model={tiny_model}", "--engine=numpy", "--detach")
    assert (code, err[:7]) == (1, "error: ")
    until(lambda: not runtime.processes())


def test_status_where_nothing_runs(runtime, command):
    assert command("status") == (0, f"No model service is running (sockets would be in {runtime.folder}).\n", "")
    assert command("status", "--json") == (0, "", "")
    assert command("stop") == (0, "No model service is running.\n", "")
    assert command("restart") == (0, "No model service is running.\n", "")


@pytest.mark.parametrize("words", [("status",), ("stop",), ("stop", "--force")])
def test_a_socket_that_is_none_of_a_service_stays(runtime, command, words):
    """The folder may be one that has other things in it, such as the sockets of an agent."""
    path = runtime.folder / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    command(*words)
    assert path.exists()
    assert not path.with_suffix(".lock").exists()
    path.unlink()


def test_status_of_one_that_runs(detached, command, provider):
    check_usable(detached, provider)
    code, out, err = command("status")
    assert (code, err) == (0, "")
    assert out.startswith(f"{MINILM}  (process {detached.pid()})\n")
    assert "ready, numpy, float32, cpu" in out
    assert "1 requests, 1 texts" in out
    code, out, err = command("status", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["process"], report["model"], report["state"]) == (detached.pid(), MINILM, "ready")
    assert report["socket"] == detached.socket
    assert report["counters"]["requests"] == 1
    assert report["idle_timeout_s"] == 1000


@pytest.mark.slow  # waits for answers that do not come; test_faults has one of these
def test_status_and_stop_of_one_that_is_frozen(detached, command):
    pid = detached.pid()
    with frozen(pid):
        code, out, err = command("status")
        assert (code, f"process {pid}" in out, "problem" in out) == (1, True, True)
        assert err.startswith("error: 1 of 1 do not respond.")
        code, _, err = command("stop", "--timeout=1")
        assert (code, err[:7]) == (1, "error: ")
        # It cannot say whose it is; the name of its socket does.
        assert command("stop", "--force", "--model=another") == (0, "No such model service is running.\n", "")
        code, out, err = command("stop", "--force", "--timeout=30", f"--model={MINILM}")
        assert (code, err) == (0, "")
        assert "stopped" in out
        ended(pid)
    check_none_left(detached)


def test_stop(detached, command, provider):
    pid = detached.pid()
    assert command("stop", "--model=another") == (0, "No such model service is running.\n", "")
    assert detached.pid() == pid
    assert command("stop", "--model=all-MiniLM-L6-v2") == (0, f"{MINILM}: stopped\n", "")
    ended(pid)
    check_none_left(detached)
    check_usable(detached, provider)


def test_restart_keeps_the_settings(detached, command, provider):
    pid, report = detached.pid(), detached.running()[0].report
    code, out, err = command("restart")
    assert (code, err) == (0, "")
    assert out.startswith(f"{MINILM}: stopped\n{MINILM}: numpy, float32, cpu; process ")
    ended(pid)
    again = detached.running()[0].report
    assert detached.pid() != pid
    for key in ("arguments", "idle_timeout_s", "engine", "precision", "model", "name"):
        assert again[key] == report[key]
    assert "--queue=99" in again["arguments"]
    check_usable(detached, provider)
    assert len(detached.starts) == 2


LOOPING = """
import sys
from loader import OptimizedEmbeddingLoader, ServiceOptions
print("begun", flush=True)
while True:
    options = ServiceOptions("wait", fallback=False, silence=60, idle_timeout=77)
    try:
        loader = OptimizedEmbeddingLoader(sys.argv[1], "service", engine="numpy", service=options)
        loader.load(timeout=60).embed_query_bytes("again and again")
    except Exception:
        pass  # in the middle of a restart
"""


def test_restart_keeps_the_settings_however_many_callers_ask_meanwhile(runtime, command, script):
    """Each of them starts a service, with its own settings, as soon as there is none."""
    model = str(make_tiny_bert(runtime.home / "model"))
    assert command("serve", "--detach", f"--model={model}", "--engine=numpy", "--idle-timeout=1000")[0] == 0
    callers = [script(LOOPING, model) for _ in range(3)]
    assert [caller.stdout.readline() for caller in callers] == ["begun\n"] * 3
    pids = [runtime.pid()]
    for _ in range(3):
        code, out, err = command("restart")
        assert (code, err) == (0, "")
        assert out.startswith(f"{model}: stopped\n{model}: numpy, float32, cpu; process ")
        pids.append(runtime.pid())
        assert runtime.running()[0].report["idle_timeout_s"] == 1000
    for caller in callers:
        assert caller.poll() is None
        caller.kill()
    assert runtime.starts == pids


def test_restart_ends_nothing_that_it_cannot_start_again(runtime, command):
    model = make_tiny_bert(runtime.home / "model")
    assert command("serve", "--detach", f"--model={model}", "--engine=numpy")[0] == 0
    pid = runtime.pid()
    model.rename(runtime.home / "gone")
    code, out, err = command("restart")
    (runtime.home / "gone").rename(model)
    assert (code, out) == (1, "")
    assert "was not found" in err
    assert runtime.starts == [pid]


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def bad_token(runtime):
    (runtime.folder / "http-token").write_text("no token")  # not of mode 0600


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["here", "detached"])
@pytest.mark.parametrize("fault", ["port", "token"])
def test_serve_that_cannot_begin_says_why_and_leaves_nothing(runtime, command, taken_port, fault, detach):
    if fault == "token":
        bad_token(runtime)
    model = make_tiny_bert(runtime.home / "model")
    port = taken_port if fault == "port" else 0
    code, out, err = command("serve", f"--model={model}", "--engine=numpy", f"--http={port}", *detach)
    assert (code, out) == (1, "")
    expected = f"port {taken_port}: Address already in use" if fault == "port" else "must be a regular file"
    assert expected in err.splitlines()[-1]
    assert {path.suffix for path in runtime.folder.iterdir()} <= {"", ".log"}
    check_none_left(runtime)


def test_serve_that_is_killed_while_it_begins_is_said(runtime, command):
    with open(runtime.site / "sitecustomize.py", "a") as file:
        file.write("\nif '--adopt' in sys.orig_argv: os.kill(os.getpid(), 9)\n")
    model = make_tiny_bert(runtime.home / "model")
    code, out, err = command("serve", f"--model={model}", "--engine=numpy", "--detach")
    assert (code, out) == (1, "")
    assert "exited at once with code -9" in err
    check_none_left(runtime)


def test_a_folder_whose_name_is_not_utf_8(runtime, command, monkeypatch):
    folder = runtime.home / os.fsdecode(b"run-\xff")
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(folder))
    model = make_tiny_bert(runtime.home / "model")
    code, out, err = command("status")
    assert (code, err) == (0, "")
    assert "run-\\udcff" in out
    assert command("serve", "--detach", f"--model={model}", "--engine=numpy")[0] == 0
    code, out, err = command("status")
    assert (code, err, "run-\\udcff" in out) == (0, "", True)
    code, out, err = command("status", "--json")
    assert (code, err) == (0, "")
    assert os.path.dirname(json.loads(out)["socket"]) == str(folder)
    for words in (("restart",), ("stop",), ("doctor",), ("cache", "list")):
        code, out, err = command(*words)
        assert (code, err) == (0, ""), words
    assert list(folder.glob("*.sock")) == []


def test_paths_are_printed_whatever_the_terminal_can_show(runtime, command, monkeypatch):
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(runtime.home / "straße"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    folder = f"{runtime.home}/stra\\xdfe"
    assert command("status") == (0, f"No model service is running (sockets would be in {folder}).\n", "")


def test_embed_prints_the_same_through_a_service(detached, command, provider):
    texts = [TEXT, "", "Straße 🙂"]
    local = command("embed", *WHAT, "--strategy=progressive", *texts)
    assert (local[0], local[2]) == (0, "")
    assert command("embed", *WHAT, *texts) == local
    assert command("embed", *WHAT, "--strategy=service", *texts) == local
    assert detached.running()[0].report["counters"]["requests"] == 6
    for line, text in zip(local[1].splitlines(), texts, strict=True):
        check(np.array(json.loads(line), np.float32), provider, text)
    documents = command("embed", *WHAT, "--strategy=progressive", "--document", *texts)
    assert command("embed", *WHAT, "--document", *texts) == documents


def test_embed_starts_no_service_unless_it_is_asked_to(runtime, command, provider):
    code, out, err = command("embed", *WHAT, TEXT)
    assert (code, err) == (0, "")
    check(np.array(json.loads(out), np.float32), provider)
    assert runtime.starts == []
    assert runtime.running() == []
    again = command("embed", *WHAT, "--strategy=service", TEXT)
    assert again == (0, out, "")
    until(lambda: len(runtime.starts) == 1)


def test_two_models_of_one_process(runtime, command, script, provider, artifacts):
    models = [f"--model={MINILM}", f"--model={MINILM},precision=int8"]
    code, out, err = command("serve", "--detach", "--engine=numpy", *models)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2
    (pid,) = runtime.starts
    assert [found.pid for found in runtime.running()] == [pid, pid]
    check_usable_one_of_two(runtime, provider)
    code, out, err = command("restart")
    assert (code, err) == (0, "")
    assert len(runtime.starts) == 2
    check_usable_one_of_two(runtime, provider)
    code, out, err = command("stop")
    assert (code, err) == (0, "")
    check_none_left(runtime)


def test_one_of_two_models_that_cannot_be_loaded(runtime, command, provider, tiny_model):
    models = [f"--model={MINILM}", f"--model={tiny_model}"]
    code, out, err = command("serve", "--detach", "--engine=numpy", *models)
    assert code == 1
    assert out.startswith(f"{MINILM}: numpy, float32, cpu; process ")
    (pid,) = runtime.starts
    said, problem = err.splitlines()
    assert said.startswith(f"process {pid} serves the others")
    assert problem.startswith("error: ")
    check_usable_one_of_two(runtime, provider)


def check_usable_one_of_two(runtime, provider):
    from tests.loader.service.services import served

    asking = served()
    check(asking.embed_query(TEXT), provider)
    assert asking.answered_by == "service"


def test_the_default_model_is_found_by_who_asks_for_it(runtime, command, provider):
    assert command("serve", "--detach")[0] == 0
    code, out, err = command("embed", TEXT)
    assert (code, err) == (0, "")
    check(np.array(json.loads(out), np.float32), provider)
    assert runtime.running()[0].report["counters"]["requests"] == 1
    local = OptimizedEmbeddingLoader("all-MiniLM-L6-v2").load(timeout=WAIT_S)
    assert np.abs(np.array(json.loads(out)) - local.embed_query(TEXT)).max() <= 1e-5
    assert os.path.exists(runtime.socket)
