"""Real services for tests: providers that use them, what runs, and that nothing is left in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from loader import OptimizedEmbeddingLoader, ServiceOptions
from loader.arguments import Settings
from loader.service import control
from loader.service.identity import identify
from loader.service.protocol import HEADER, HELLO, pack, unpack_header
from tests.conftest import MINILM, ROOT

WAIT_S = 60
"""A hang ends so; nothing is asserted about time."""
PATIENT = {"silence": 60.0}
"""For services that must answer, on however busy a machine."""

TEXT = "database connection"

CALLER = """
import sys
from loader import OptimizedEmbeddingLoader, ServiceOptions
start, fallback, text = sys.argv[1:]
options = ServiceOptions(start, fallback=fallback == "fallback", silence=60)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
print(provider.embed_query_bytes(text).hex(), provider.answered_by, type(provider.fallback_reason).__name__)
"""
"""A program that embeds a text; its arguments: how to start a service, whether to fall back, and the text."""

# In each process that is started: notes down which of them begin to be services.
_SITECUSTOMIZE = """
import os, sys
if "--adopt" in sys.orig_argv and "STARTS" in os.environ:
    try:
        with open(os.environ["STARTS"], "ab", buffering=0) as file:
            file.write(b"%d\\n" % os.getpid())
    except OSError:
        pass  # in the test of a disk that takes no more
"""


class Runtime:
    """A folder for sockets that no other test has, and what goes on in it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(dir="/tmp"))  # short: a socket's path has 107 bytes
        self.folder = self.home / "run"
        self.folder.mkdir(0o700)
        self._starts = self.home / "starts"
        self.site = self.home / "site"
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self.environment = {
            "EMBEDDING_LOADER_RUNTIME": str(self.folder),
            "STARTS": str(self._starts),
            "PYTHONPATH": os.pathsep.join((str(self.site), str(ROOT))),
        }

    @property
    def starts(self) -> list[int]:
        """The process of each service that a caller has started, however short it lived."""
        return [int(line) for line in self._starts.read_text().split()] if self._starts.exists() else []

    def processes(self) -> list[psutil.Process]:
        """All processes, other than this one, that have this folder in their environment."""
        return list(_living(str(self.folder)))

    def running(self) -> list[control.Running]:
        return control.running()

    def pid(self) -> int:
        (service,) = self.running()
        assert service.problem is None, service.problem
        return service.pid

    @property
    def socket(self) -> str:
        """The path of the only socket."""
        (path,) = self.folder.glob("*.sock")
        return str(path)

    def expected_socket(self, model=MINILM, engine="numpy") -> Path:
        """Where the service for the providers of ``load`` would listen."""
        return self.folder / f"{identify(Settings(str(model), engine=engine)).name}.sock"

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(WAIT_S)

    def remove(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)


def _living(folder: str):
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("EMBEDDING_LOADER_RUNTIME") == folder:
                yield process
        except psutil.Error:
            pass  # it has ended, or is a zombie, or is not ours


def load(start="wait", *, model=MINILM, **options):
    """Return a provider that asks a service."""
    service = ServiceOptions(start, **options)
    return OptimizedEmbeddingLoader(model, "service", engine="numpy", service=service).load(timeout=WAIT_S)


def served(**options):
    """Return a provider that is answered by a service, which is started if there is none, or raises."""
    return load("wait", fallback=False, **PATIENT | options)


def answers(processes):
    """Return what each of the callers printed: vector, who computed, and the type of the reason."""
    for process in processes:
        out, err = process.communicate(timeout=WAIT_S * 3)
        assert process.returncode == 0, err
        vector, answered_by, reason = out.split()
        yield np.frombuffer(bytes.fromhex(vector), "<f4"), answered_by, reason


def check(vectors, provider, text=TEXT) -> None:
    """Assert that it is the right vector."""
    np.testing.assert_allclose(np.ravel(vectors), provider.embed_query(text), rtol=0, atol=1e-6)


def check_usable(runtime: Runtime, provider, text="afterwards") -> int:
    """Assert that a new caller gets a service that answers; return the service's process."""
    asking = served()
    check(asking.embed_query(text), provider, text)
    assert asking.answered_by == "service"
    assert asking.fallback_reason is None
    return runtime.pid()


def stop_all(runtime: Runtime) -> None:
    """Stop all services, and assert that no process and no socket is left."""
    for service in runtime.running():
        control.stop(service, force=True)
    check_none_left(runtime)


def check_none_left(runtime: Runtime) -> None:
    until(lambda: not runtime.processes())
    assert runtime.running() == []
    assert sorted(path.suffix for path in runtime.folder.iterdir() if path.suffix in {".sock", ".lock"}) == []


def until(condition) -> None:
    """Wait until a condition holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.01)


def ended(pid: int) -> None:
    """Wait until a process has ended with all its threads, whoever is its parent.

    A process counts as a zombie once its first thread is gone; another one may still hold its files, and so its lock.
    """

    def is_gone() -> bool:
        try:
            process = psutil.Process(pid)
            return process.status() == psutil.STATUS_ZOMBIE and len(os.listdir(f"/proc/{pid}/task")) == 1
        except (psutil.NoSuchProcess, FileNotFoundError):
            return True

    until(is_gone)


@contextlib.contextmanager
def frozen(pid: int):
    """Stop a process in its tracks for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def connected(path: str):
    """A bare socket, connected."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(path)
        yield client


def greet(client: socket.socket, model=MINILM) -> None:
    """Say the right HELLO and hear the answer."""
    client.sendall(pack(HELLO, identify(Settings(str(model), engine="numpy")).text.encode()))
    receive(client)


def receive(client: socket.socket):
    """Return a frame."""
    header = unpack_header(_exactly(client, HEADER.size))
    return header, _exactly(client, header.length)


def _exactly(client: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = client.recv(length - len(data))
        assert piece, "the connection ended"
        data += piece
    return data
