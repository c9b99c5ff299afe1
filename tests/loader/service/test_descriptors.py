"""A service whose process runs out of file descriptors says so, lives, and recovers."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from tests.conftest import MINILM
from tests.loader.service.services import TEXT, check, check_usable, load, until

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's"),
]

DESCRIPTORS = 100
CROWD = 300
LOG_BYTES = 20_000
"""What a service may write in a test: some lines for each thing that happened, not one for each attempt."""
TOKEN = "a-token-of-this-test"


class Limited:
    """A service with few descriptors, and what it writes."""

    def __init__(self, process, log, port):
        self.process = process
        self.port = port
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    def limit(self, count: int) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (count, DESCRIPTORS))

    def crowd(self, stack: contextlib.ExitStack, kind: str, path: str) -> None:
        """Connect many times and say nothing."""
        for _ in range(CROWD):
            client = stack.enter_context(socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET))
            client.settimeout(0.1)
            with contextlib.suppress(OSError):
                client.connect(path if kind == "unix" else ("127.0.0.1", self.port))

    def ask(self, path="/health", body=None):
        head = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def vector(self):
        found = self.ask("/v1/embeddings", json.dumps({"model": MINILM, "input": TEXT}).encode())
        return np.array(found["data"][0]["embedding"], "f4")


@pytest.fixture
def limited(runtime, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    words = ["-m", "loader", "serve", f"--model={MINILM}", "--engine=numpy", f"--http={port}"]
    shell = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"', sys.executable, *words]
    environment = {**os.environ, "PYTHONPATH": runtime.environment["PYTHONPATH"], "EMBEDDING_LOADER_HTTP_TOKEN": TOKEN}
    with log.open("w") as file, subprocess.Popen(shell, stderr=file, env=environment, cwd=tmp_path) as process:
        try:
            until(lambda: "answering OpenAI's clients" in log.read_text() or process.poll() is not None)
            yield Limited(process, log, port)
        finally:
            process.terminate()


@pytest.mark.parametrize("kind", ["unix", "http"])
def test_more_connections_than_descriptors(limited, runtime, provider, kind):
    with contextlib.ExitStack() as stack:
        limited.crowd(stack, kind, runtime.socket)
        time.sleep(2.5)  # as long as it takes to try again some times
        assert limited.process.poll() is None, limited.log()[-500:]
        assert len(limited.log()) < LOG_BYTES
        assert limited.log().count("descriptors are short") == 1
        check(limited.vector(), provider) if kind == "http" else check(load(None).embed_query(TEXT), provider)
    until(lambda: [service.problem for service in runtime.running()] == [None])
    assert check_usable(runtime, provider) == limited.process.pid
    check(limited.vector(), provider)


@pytest.mark.slow
def test_not_one_descriptor_left(limited, runtime, provider):
    limited.limit(8)
    with contextlib.ExitStack() as stack:
        for kind in ("unix", "http"):
            limited.crowd(stack, kind, runtime.socket)
        time.sleep(2.5)
        assert limited.process.poll() is None, limited.log()[-500:]
        assert len(limited.log()) < LOG_BYTES
        assert limited.log().count("cannot accept connections (Too many open files)") == 1
        time.sleep(3)  # the memory is looked at every 5 s
        assert limited.process.poll() is None, limited.log()[-500:]
        limited.limit(DESCRIPTORS)
    until(lambda: [service.problem for service in runtime.running()] == [None])
    assert check_usable(runtime, provider) == limited.process.pid
    check(limited.vector(), provider)
