"""Downloads, with the real hub client against a hub on the loopback interface."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from loader import ModelDownloadError, ModelNotFoundError, ModelUnsupportedError
from loader.model.hub_client import needed
from loader.model.source import resolve
from tests.conftest import install_in_hub_cache, make_model_folder, safetensors_bytes
from tests.support.hubserver import serve_hub
from tests.support.tiers import representative

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def online(tmp_path, monkeypatch):
    """An empty hub cache and permission to download."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def served(tmp_path):
    """A model folder to be served, with files that nobody needs."""
    folder = make_model_folder(tmp_path / "served")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    return folder


def test_a_model_is_downloaded_once(served, monkeypatch):
    with serve_hub({"org/model": served}) as (endpoint, requests):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        found = resolve("org/model")
        assert found.origin == "download"
        asked = len(requests)
        again = resolve("org/model")
        assert (again.origin, again.path) == ("hub cache", found.path)
        assert len(requests) == asked, "the second time, no network"
    assert not any("pytorch_model" in path or "/onnx/" in path for path in fetched(requests))


def fetched(requests):
    """The files among the requested paths."""
    return {path.partition("/resolve/")[2].partition("/")[2] for path in requests if "/resolve/" in path}


def test_only_what_a_model_needs_is_downloaded_and_its_weights_once():
    wanted = [
        "config.json",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "model.safetensors",
        "adapter_model.safetensors",
        "0_Transformer/vocab.txt",
        "merges.txt",
        "sentencepiece.bpe.model",
    ]
    others = [
        "README.md",
        "requirements.txt",
        "pytorch_model.bin",
        "model.fp16.safetensors",
        "model-00001-of-00002.safetensors",
        "consolidated.00.safetensors",
        "onnx/config.json",
        "openvino/openvino_model.xml",
    ]
    assert needed([*wanted, *others]) == wanted
    parts = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert needed(parts) == parts


def test_a_bare_name_is_tried_with_the_organisation_first(served, monkeypatch):
    with serve_hub({"model": served}) as (endpoint, requests):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert resolve("model").origin == "download"
    assert any("sentence-transformers/model" in path for path in requests)


def test_a_model_that_the_hub_does_not_have(served, monkeypatch):
    with serve_hub({"org/model": served}) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelNotFoundError, match="does not exist"):
            resolve("org/other")


@pytest.mark.slow  # the hub's client tries several times
def test_a_download_that_breaks_off_leaves_nothing_that_looks_complete(served, monkeypatch):
    (served / "model.safetensors").write_bytes(safetensors_bytes(floats=1_000))
    with serve_hub({"org/model": served}, broken=True) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelDownloadError, match="org/model"):
            resolve("org/model")
    with pytest.raises(ModelNotFoundError, match="no complete snapshot"):
        resolve("org/model", allow_download=False)
    with serve_hub({"org/model": served}) as (endpoint, requests):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert resolve("org/model").origin == "download"
    assert fetched(requests) == {"model.safetensors"}, "what was complete is kept"


def test_what_another_program_left_unfinished_is_completed(served, monkeypatch, tmp_path):
    """Its reference is there before the weights are."""
    (install_in_hub_cache(tmp_path / "hf" / "hub", "org/model") / "model.safetensors").unlink()
    with serve_hub({"org/model": served}) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelNotFoundError, match="no complete snapshot"):
            resolve("org/model", allow_download=False)
        assert resolve("org/model").origin == "download"
        assert resolve("org/model").origin == "hub cache"


def test_what_killed_downloads_have_left_is_removed(served, monkeypatch, tmp_path):
    """Only what nobody writes any more, and no client can go on with."""
    blobs = tmp_path / "hf" / "hub" / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    names = ["0123.89abcdef.incomplete", "4567.89abcdef.incomplete", "0123.incomplete", "0123"]
    for name in names:
        (blobs / name).write_bytes(b"x")
    for name in (names[0], *names[2:]):
        os.utime(blobs / name, (1, 1))
    with serve_hub({"org/model": served}) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        resolve("org/model")
    assert [name for name in names if (blobs / name).exists()] == names[1:]


def test_a_repository_with_pickled_weights_only(served, monkeypatch, tmp_path):
    (served / "model.safetensors").unlink()
    with serve_hub({"org/model": served}) as (endpoint, requests):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelUnsupportedError, match="refused"):
            resolve("org/model")
    assert not fetched(requests)


def test_permission_in_an_argument_beats_the_environment(served, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with serve_hub({"org/model": served}) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelNotFoundError, match="not allowed"):
            resolve("org/model")
        assert resolve("org/model", allow_download=True).origin == "download"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:9", "http://no-such-host.invalid", "http://[::1", "nonsense", "http://127.0.0.1:1/\n"],
)
def test_an_unreachable_hub_is_named(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ModelNotFoundError, match="cannot be reached"):
        resolve("org/model")


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    """The bound itself (PROBE_S) is checked against the process that obeys it, not against a clock of this test."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ModelNotFoundError, match="cannot be reached"):
            resolve("org/model")


def test_exit_ends_a_download(python, tmp_path):
    """A process whose main thread returns during a download ends cleanly and takes the download with it."""
    code = """
import os, sys, time
from loader import preload_embeddings
preload_embeddings("org/model", "background")
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
"""
    held, waiting = [], tmp_path / "waiting"

    def hang(server):
        """Answer the probe, then accept and say nothing."""
        first, _ = server.accept()
        with first:
            first.recv(65536)
            first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        second, _ = server.accept()
        held.append(second)
        waiting.touch()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang, args=(server,), daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = python(
            code, str(waiting), env={"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": None, "HF_HUB_DISABLE_XET": "1"}
        )
        thread.join(10)
    assert (done.code, done.err) == (0, "")
    with held[0] as connection:
        connection.settimeout(30)
        while connection.recv(65536):  # ends when the other side is gone; a time-out means it lives on
            pass


CLOSE_PYTHONS, CLOSE_DESCRIPTOR = "import sys; sys.stderr.close()", "import os; os.close(2)"
LOAD = "from loader.model.source import resolve; resolve('org/model', progress=PROGRESS)"


@pytest.fixture
def terminal(tmp_path):
    """Run a command whose stderr is a terminal of 80 columns; return its exit code and what it showed there."""
    fcntl, struct, termios = (pytest.importorskip(name) for name in ("fcntl", "struct", "termios"))

    def run(*command, env, started=lambda process: None):
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environ = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", **env}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=slave, env=environ, cwd=tmp_path, start_new_session=True
        ) as process:
            os.close(slave)
            started(process)
            shown = b""
            while True:
                try:
                    read = os.read(master, 65_536)
                except OSError:  # Linux's way to say that nobody has the terminal open any more
                    break
                if not read:
                    break
                shown += read
            os.close(master)
            return process.wait(60), shown.decode()

    return run


@pytest.fixture
def large(served):
    """A model whose weights take a moment."""
    (served / "model.safetensors").write_bytes(safetensors_bytes(floats=3_000_000))
    return served


@pytest.mark.parametrize("progress", [None, True])
def test_a_terminal_shows_what_is_downloaded_and_one_bar(large, terminal, progress):
    code = LOAD.replace("PROGRESS", str(progress))
    with serve_hub({"org/model": large}) as (endpoint, _):
        status, shown = terminal(sys.executable, "-c", code, env={"HF_ENDPOINT": endpoint})
    assert status == 0, shown
    first, *drawn = shown.split("\r\n")
    assert first == f"Downloading org/model (24 MB) from {endpoint} to ~/hf/hub"
    assert drawn[1:] == [""], "one line, drawn again and again"
    states = [state for state in drawn[0].split("\r") if state.strip()]
    assert states[0].startswith("  0%")
    assert states[-1].startswith("100%")
    assert "24.0M/24.0M" in states[-1]
    assert all(len(state) <= 80 for state in states)


def test_a_download_goes_on_with_what_is_missing(large, terminal, monkeypatch):
    """Ctrl-C in the middle: the files that are complete stay, and nobody shows a traceback but the program itself."""
    reached, go_on = threading.Event(), threading.Event()

    def half_way():
        reached.set()
        go_on.wait(60)

    def interrupt(process):
        assert reached.wait(60)
        os.killpg(process.pid, signal.SIGINT)

    code = LOAD.replace("PROGRESS", "None")
    with serve_hub({"org/model": large}, half_way=half_way) as (endpoint, _):
        status, shown = terminal(sys.executable, "-c", code, env={"HF_ENDPOINT": endpoint}, started=interrupt)
        go_on.set()
    assert status != 0
    assert shown.count("Traceback") == 1, shown
    with serve_hub({"org/model": large}) as (endpoint, requests):
        status, shown = terminal(sys.executable, "-c", code, env={"HF_ENDPOINT": endpoint})
        assert status == 0, shown
        assert "model.safetensors" in fetched(requests)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert resolve("org/model").origin == "hub cache"


def test_no_progress_where_it_is_not_wanted(served, terminal):
    with serve_hub({"org/model": served}) as (endpoint, _):
        code = LOAD.replace("PROGRESS", "False")
        assert terminal(sys.executable, "-c", code, env={"HF_ENDPOINT": endpoint}) == (0, "")


@pytest.mark.parametrize(
    ("progress", "close"),
    representative(
        {(None, ""), (True, ""), (True, CLOSE_PYTHONS), (True, CLOSE_DESCRIPTOR), (None, "at once")},
        itertools.product((None, True, False), ("", CLOSE_PYTHONS, CLOSE_DESCRIPTOR, "at once")),
    ),
)
def test_no_terminal(served, tmp_path, progress, close):
    """Only True shows anything there, if there is an stderr at all (closing Python's own leaves the descriptor)."""
    code = LOAD.replace("PROGRESS", str(progress))
    command = [sys.executable, "-c", code if close == "at once" else f"{close}\n{code}"]
    if close == "at once":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with serve_hub({"org/model": served}) as (endpoint, _):
        environ = {**os.environ, "HF_ENDPOINT": endpoint}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    if progress and close in {"", CLOSE_PYTHONS}:
        assert re.match(r"Downloading org/model \(\d+\.\d kB\) from http", done.stderr)
        assert "100%" in done.stderr
    else:
        assert done.stderr == ""


def test_a_cache_that_cannot_be_a_folder(served, tmp_path, monkeypatch):
    (tmp_path / "hf").write_text("a file")
    with serve_hub({"org/model": served}) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelDownloadError, match="cannot be written") as caught:
            resolve("org/model")
    assert str(tmp_path / "hf" / "hub") in str(caught.value)
    assert "set HF_HOME" in str(caught.value)


def test_a_model_larger_than_the_disk(served, tmp_path, monkeypatch):
    with serve_hub({"org/model": served}, claimed=10**15) as (endpoint, requests):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelDownloadError, match="full") as caught:
            resolve("org/model")
    assert str(tmp_path / "hf" / "hub") in str(caught.value)
    assert re.search(r"[\d,]+ MB needed, [\d,]+ MB free", str(caught.value))
    assert not fetched(requests)


def test_a_file_that_cannot_be_written_to_its_end(large, python, tmp_path):
    """The same as a disk that fills up: the system refuses the next write."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
from loader import ModelDownloadError
from loader.model.source import resolve
try:
    resolve("org/model")
except ModelDownloadError as error:
    print(error)
"""
    pytest.importorskip("resource")
    with serve_hub({"org/model": large}) as (endpoint, _):
        done = python(code, env={"HF_ENDPOINT": endpoint})
    assert f"{tmp_path / 'hf' / 'hub'} cannot be written" in done.out, done.out + done.err
