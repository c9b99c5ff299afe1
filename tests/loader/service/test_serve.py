"""The whole of ``serve``: real sockets and a real load; how it ends, and that nothing of a text is ever logged."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pytest

from loader.arguments import Settings
from loader.errors import ModelLoadError, ModelNotFoundError, ServiceRefusedError, ServiceUnavailableError
from loader.local_provider import LocalProvider
from loader.service.protocol import HELLO, REPORT, STATUS, STOP, STOPPING, pack, unpack_error
from loader.service.server.batcher import Batcher
from loader.service.server.main import ServedModel, ServeOptions, serve
from tests.conftest import MINILM, ROOT
from tests.loader.service.wire import IDENTITY, WAIT_S, Client, listen, socket_folder, until
from tests.support.panics import panic

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this system"),
]


@dataclass
class Identity:
    text: str = IDENTITY
    name: str = "minilm"
    is_changed: bool = False

    def changed(self) -> bool:
        return self.is_changed


@dataclass
class Claim:
    """A socket without a lock."""

    path: str
    listener: socket.socket = field(init=False)
    released: int = 0

    def __post_init__(self):
        self.listener = listen(self.path)

    def mend(self):
        return False

    def release(self):
        os.unlink(self.path)
        self.listener.close()
        self.released += 1


@dataclass
class Running:
    """A service in a thread."""

    models: list[ServedModel]
    reason: Future

    @property
    def path(self):
        return self.models[0].claim.path

    async def ended(self):
        return await asyncio.wait_for(asyncio.wrap_future(self.reason), WAIT_S)


@contextlib.contextmanager
def running(*names, identities=(), precision="float32", extra=None, **options):
    """Serve some models; one that still runs in the end is asked to stop."""
    with socket_folder() as folder:
        models = []
        for index, name in enumerate(names):
            identity = identities[index] if identities else Identity(name=f"model-{index}")
            claim = Claim(os.path.join(folder, str(index)))
            models.append(ServedModel(Settings(name, "service", engine="numpy", precision=precision), identity, claim))
        service = Running(models, Future())

        def work():
            try:
                service.reason.set_result(serve(models, ServeOptions(**{"idle_timeout": -1, **options}), extra=extra))
            except BaseException as error:
                service.reason.set_exception(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield service
        finally:
            if thread.is_alive():
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                    last.connect(service.path)
                    last.sendall(pack(STOP))
            thread.join(WAIT_S)
        assert not thread.is_alive()
        assert [model.claim.released for model in models] == [1] * len(models)
        assert os.listdir(folder) == []


def run(main):
    async def bounded():
        try:
            return await asyncio.wait_for(main(), 2 * WAIT_S)
        finally:
            await Client.close_all()

    return asyncio.run(bounded())


def test_a_service_from_its_start_to_its_end(provider, caplog):
    caplog.set_level("DEBUG")
    secret = "nobody but the caller may read this"
    with running(MINILM) as service:

        async def main():
            client = await Client.greet(service.path)
            for kind in ("query", "document"):
                assert np.array_equal((await client.embed([secret], kind))[0], provider.embed_query(secret))
            report = json.loads(await client.ask(pack(STATUS), REPORT))
            await client.send(secret.encode())  # no frame
            await client.error()
            other = await Client.connect(service.path)
            await other.ask(pack(STOP), STOPPING)
            assert await other.receive() is None
            return report, await service.ended()

        report, reason = run(main)
    assert reason == "a client asked for it"
    assert report["pid"] == os.getpid()
    assert (report["name"], report["model"]) == ("model-0", MINILM)
    assert (report["state"], report["engine"], report["device"]) == ("ready", "numpy", "cpu")
    assert (report["precision"], report["dimension"], report["queued_texts"]) == ("float32", 384, 0)
    assert report["memory_bytes"] > 2**20
    assert (report["counters"]["requests"], report["counters"]["texts"]) == (2, 2)
    assert secret not in json.dumps(report)
    assert "starts serving" in caplog.text
    assert "is ready" in caplog.text
    assert "a client asked for it" in caplog.text
    assert "not a frame header" in caplog.text
    assert not any(part in caplog.text for part in ("nobody", "caller may", "read this"))


def test_eight_bits(artifacts):
    with running(MINILM, precision="int8") as service:

        async def main():
            client = await Client.greet(service.path)
            assert client.welcome.precision == "int8"
            return await client.embed(["a"])

        assert run(main).shape == (1, 384)


def test_idle_zero_ends_after_the_first_answer(provider):
    with running(MINILM, idle_timeout=0) as service:

        async def main():
            client = await Client.greet(service.path)
            assert json.loads(await client.ask(pack(STATUS), REPORT))["state"] == "ready"
            vector = (await client.embed(["once"]))[0]
            return vector, await service.ended()

        vector, reason = run(main)
    assert np.array_equal(vector, provider.embed_query("once"))
    assert reason == "the first request was answered"


def test_connections_alone_do_not_keep_it():
    with running(MINILM, idle_timeout=0.2) as service:

        async def main():
            await Client.greet(service.path)
            return await service.ended()

        assert run(main) == "no request for 0.2 s"


def test_a_memory_ceiling_ends_it():
    with running(MINILM, max_memory_mb=1) as service:

        async def main():
            return await service.ended()

        assert "MiB of memory, more than 1 MiB" in run(main)


def test_a_model_whose_files_changed_ends_it():
    with running(MINILM, identities=[Identity(is_changed=True)]) as service:

        async def main():
            return await service.ended()

        assert run(main) == "the files of a model changed"


def test_the_only_model_that_cannot_be_loaded_ends_it(tmp_path):
    with running(str(tmp_path / "nowhere")) as service:
        assert isinstance(service.reason.exception(WAIT_S), ModelNotFoundError)


def test_one_of_two_models_that_cannot_be_loaded_leaves_the_other(tmp_path, provider):
    with running(MINILM, str(tmp_path / "nowhere")) as service:

        async def main():
            with pytest.raises(ServiceRefusedError, match="was not found"):
                await Client.greet(service.models[1].claim.path)
            client = await Client.greet(service.path)
            assert np.array_equal((await client.embed(["a"]))[0], provider.embed_query("a"))

        run(main)


def test_what_runs_beside_gets_the_models_and_is_cancelled(provider):
    seen = {}

    async def extra(models):
        (batcher, local) = models["model-0"]
        seen["vector"] = await batcher.embed(["beside"], "query", WAIT_S)
        seen["dimension"] = local.dimension
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen["cancelled"] = True
            raise

    with running(MINILM, extra=extra) as service:

        async def main():
            client = await Client.connect(service.path)
            await until(lambda: "dimension" in seen)
            await client.ask(pack(STOP), STOPPING)
            return await service.ended()

        assert run(main) == "a client asked for it"
    assert np.array_equal(np.frombuffer(seen["vector"], "<f4"), provider.embed_query("beside"))
    assert seen["cancelled"]


def test_what_runs_beside_and_fails_ends_it():
    async def extra(models):
        raise OSError("the port is taken")

    with running(MINILM, extra=extra) as service:
        error = service.reason.exception(WAIT_S)
    assert type(error) is ServiceUnavailableError
    assert "OSError: the port is taken" in str(error)


def test_the_end_of_the_thread_that_computes_is_the_end_of_the_service(provider, monkeypatch):
    with running(MINILM) as service:

        async def main():
            client = await Client.greet(service.path)
            monkeypatch.setattr(Batcher, "_next_batch", lambda batcher: panic())
            with pytest.raises(ServiceUnavailableError, match="PanicException"):
                await client.embed(["a"])

        run(main)
        error = service.reason.exception(WAIT_S)
    assert type(error) is ServiceUnavailableError
    assert "PanicException" in str(error)


@pytest.mark.parametrize("place", ["load", "start"])
def test_a_load_that_panics_is_told_to_those_who_wait(monkeypatch, place):
    asked = threading.Event()  # a service that ends closes the connections on which it has read no request yet

    def held(self):
        assert asked.wait(WAIT_S)
        if place == "load":
            panic()  # in the thread that loads

    def failing(self):
        raise RuntimeError("can't start new thread")  # in the event loop

    monkeypatch.setattr(LocalProvider, "warm_up", held)
    if place == "start":
        monkeypatch.setattr(Batcher, "start", failing)
    with running(MINILM) as service:

        async def main():
            client = await Client.connect(service.path)
            await client.send(pack(HELLO, IDENTITY.encode()))
            answer = asyncio.ensure_future(client.receive())
            await until(lambda: client.working)
            asked.set()
            return unpack_error(*await answer)

        told = run(main)
        error = service.reason.exception(WAIT_S)
    assert type(told) is (ServiceRefusedError if place == "load" else ServiceUnavailableError)
    assert ("PanicException" if place == "load" else "can't start new thread") in str(told)
    assert type(error) is (ModelLoadError if place == "load" else ServiceUnavailableError)


def test_two_gigabytes_announced_do_not_disturb(provider):
    with running(MINILM) as service:

        async def main():
            bad = await Client.connect(service.path)
            await bad.send(b"OELS\x01\x03\0\0\1\0\0\0\0\0\0\x80")
            await bad.error()
            client = await Client.greet(service.path)
            assert np.array_equal((await client.embed(["a"]))[0], provider.embed_query("a"))

        run(main)


CHILD = """
import sys
from loader.arguments import Settings
from loader.service.server.main import ServedModel, ServeOptions, serve
from tests.loader.service.test_serve import Claim, Identity
served = ServedModel(Settings(sys.argv[1], "service", engine="numpy"), Identity(), Claim(sys.argv[2]))
print(serve([served], ServeOptions(idle_timeout=-1)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_process_after_what_it_accepted(provider, number):
    texts = [f"number {index} of a long batch {'and so on ' * 40}" for index in range(16)]
    with socket_folder() as folder:
        path = os.path.join(folder, "s")
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, MINILM, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

        async def main():
            client = await until_it_listens(path, process)
            answer = asyncio.create_task(client.embed(texts, "document"))
            other = await Client.connect(path)
            await until_pending(other)
            process.send_signal(number)
            await until(lambda: not os.path.exists(path))
            return await answer

        try:
            vectors = run(main)
            out, _ = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
            process.communicate()
    np.testing.assert_allclose(vectors, provider.embed_batch(texts), atol=1e-5)
    assert out.strip() == f"signal {number.name}"
    assert process.returncode == 0


async def until_it_listens(path, process):
    """A socket is in the file system a moment before it listens."""
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return await Client.greet(path)
        await asyncio.sleep(0.005)
    raise AssertionError("the process has ended")


async def until_pending(client):
    while not json.loads(await client.ask(pack(STATUS), REPORT))["counters"]["requests"]:
        await asyncio.sleep(0.005)
