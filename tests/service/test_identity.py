"""Another service for another version, another model, or another state of its files; the same one otherwise."""

import os
import shutil

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from loader.errors import ServiceMismatchError, ServiceUnavailableError
from loader.service import control
from loader.service.protocol import ERROR, HELLO, pack, unpack_error
from tests.conftest import MINILM, ROOT
from tests.service.services import (
    CALLER,
    TEXT,
    WAIT_S,
    answers,
    check,
    connected,
    ended,
    load,
    receive,
    served,
    until,
)

pytestmark = pytest.mark.real_model


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
