"""Downloads, with the real hub client against a hub on the loopback interface."""

import socket
import threading

import pytest

from loader import ModelDownloadError, ModelNotFoundError
from loader.source import resolve
from tests.conftest import make_model_folder
from tests.hubserver import serve_hub


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
    assert not any("pytorch_model" in path or "/onnx/" in path for path in requests if "/resolve/" in path)


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


def test_a_download_that_breaks_off_leaves_nothing_that_looks_complete(served, monkeypatch):
    (served / "model.safetensors").write_bytes(b"x" * 100_000)
    with serve_hub({"org/model": served}, broken=True) as (endpoint, _):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(ModelDownloadError, match="org/model"):
            resolve("org/model")
    with pytest.raises(ModelNotFoundError):
        resolve("org/model", allow_download=False)


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


def test_exit_ends_a_download(python):
    """A process whose main thread returns during a download ends cleanly and takes the download with it."""
    code = """
import time
from loader import preload_embeddings
preload_embeddings("org/model", "background")
time.sleep(4)  # until the hub's client waits for its second answer
"""
    held = []

    def hang(server):
        """Answer the probe, then accept and say nothing."""
        first, _ = server.accept()
        with first:
            first.recv(65536)
            first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        second, _ = server.accept()
        held.append(second)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang, args=(server,), daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = python(code, env={"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": None, "HF_HUB_DISABLE_XET": "1"})
        thread.join(10)
    assert (done.code, done.err) == (0, "")
    with held[0] as connection:
        connection.settimeout(30)
        while connection.recv(65536):  # ends when the other side is gone; a time-out means it lives on
            pass
