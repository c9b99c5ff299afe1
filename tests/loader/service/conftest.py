"""A folder for sockets of one test alone; whatever a test leaves running there is killed and reported."""

import os
import socket
import subprocess
import sys

import pytest

from loader import OptimizedEmbeddingLoader
from loader.arguments import Settings
from loader.service.identity import identify
from tests.conftest import MINILM
from tests.loader.service.services import Runtime, served, stop_all


@pytest.fixture
def runtime(monkeypatch):
    """An empty folder for sockets, which this process and its children use."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets on this system")
    folder = Runtime()
    for name, value in folder.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(folder.site)  # a service that this process starts has its path
    yield folder
    try:
        if folder.folder.is_dir() and not folder.folder.is_symlink() and folder.folder.stat().st_uid == os.geteuid():
            folder.folder.chmod(0o700)
            stop_all(folder)
        left = [process.pid for process in folder.processes()]
    finally:
        folder.end()
        folder.remove()
    assert left == []


@pytest.fixture(scope="session")
def provider(minilm_folder):
    """A provider of the engine that the services here are asked for, so that vectors are equal to the last bit."""
    return OptimizedEmbeddingLoader(MINILM, engine="numpy").load(timeout=None)


@pytest.fixture
def service(runtime, provider):
    """A folder where a service runs; the folder's ``pid`` is its process."""
    served()
    return runtime


@pytest.fixture
def minilm_identity():
    """Of the service for the providers of ``load``."""
    return identify(Settings(MINILM, engine="numpy"))


@pytest.fixture
def script(runtime, tmp_path):
    """Start Python code in another process: ``script(code, *argv, **environment)`` returns the Popen."""
    started = []

    def start(code, *argv, stdout=subprocess.PIPE, **environment):
        process = subprocess.Popen(
            [sys.executable, *(["-c", code] if code else []), *argv],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": runtime.environment["PYTHONPATH"], **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
