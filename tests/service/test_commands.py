"""The commands around services, as a user calls them: serve, status, stop, restart, and embed through one."""

import json
import os
import signal

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from tests.conftest import MINILM
from tests.service.services import TEXT, WAIT_S, check, check_none_left, check_usable, ended, frozen, until

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
        assert err.startswith(f"error: A service for {MINILM} runs already.")
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
    assert command("status") == (0, f"No model service runs (sockets would be in {runtime.folder}).\n", "")
    assert command("status", "--json") == (0, "", "")
    assert command("stop") == (0, "No model service runs.\n", "")
    assert command("restart") == (0, "No model service runs.\n", "")


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


def test_status_and_stop_of_one_that_is_frozen(detached, command):
    pid = detached.pid()
    with frozen(pid):
        code, out, err = command("status")
        assert (code, f"process {pid}" in out, "problem" in out) == (1, True, True)
        assert err.startswith("error: 1 of 1 do not answer.")
        code, _, err = command("stop", "--timeout=1")
        assert (code, err[:7]) == (1, "error: ")
        # It cannot say whose it is; the name of its socket does.
        assert command("stop", "--force", "--model=another") == (0, "No such model service runs.\n", "")
        code, out, err = command("stop", "--force", "--timeout=30", f"--model={MINILM}")
        assert (code, err) == (0, "")
        assert "stopped" in out
        ended(pid)
    check_none_left(detached)


def test_stop(detached, command, provider):
    pid = detached.pid()
    assert command("stop", "--model=another") == (0, "No such model service runs.\n", "")
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
    from tests.service.services import served

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
