"""Weights that change in place under a service: no caller hangs, and none gets vectors of other weights unawares."""

import os
import shutil
import signal

import numpy as np
import pytest

from loader import EmbeddingError, ModelCorruptError, OptimizedEmbeddingLoader, ServiceOptions
from loader.errors import ServiceMismatchError, ServiceRefusedError, ServiceUnavailableError
from loader.service.starting import last_words, log_path
from tests.loader.service.services import PATIENT, TEXT, WAIT_S, ended, load, served
from tests.support.tiny_bert import make_tiny_bert

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


class Model:
    """A model whose weights have more than a page: reading a missing one would kill the process."""

    def __init__(self, home):
        self.folder = make_tiny_bert(home / "model", inner=4096)
        self.weights = self.folder / "model.safetensors"
        self._good = home / "good.safetensors"
        shutil.copyfile(self.weights, self._good)

    def truncate(self):
        os.truncate(self.weights, 100)

    def overwrite(self):
        with open(self.weights, "r+b") as file:
            file.seek(self.weights.stat().st_size // 2)
            file.write(bytes(1000))

    def restore(self):
        shutil.copyfile(self._good, f"{self.weights}.new")
        os.replace(f"{self.weights}.new", self.weights)


@pytest.fixture
def model(runtime, own_cache):
    return Model(runtime.home)


def check_usable_again(model, expected):
    """Assert that a new caller gets a service of the restored weights."""
    model.restore()
    again = served(model=model.folder)
    np.testing.assert_allclose(again.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert again.answered_by == "service"


@pytest.mark.parametrize("how", ["truncate", "overwrite"])
def test_a_service_whose_weights_are_changed_in_place_says_so_and_ends(runtime, model, how):
    asking, other = served(model=model.folder), load("wait", model=model.folder, **PATIENT)
    expected, pid = asking.embed_query(TEXT), runtime.pid()
    getattr(model, how)()
    with pytest.raises(ServiceRefusedError, match=r"model\.safetensors was changed in place"):
        asking.embed_query(TEXT)
    ended(pid)
    with pytest.raises(ServiceMismatchError, match="Load it again"):
        asking.embed_query(TEXT)
    # It may compute itself, but these weights are not those that gave its first vectors.
    with pytest.raises(EmbeddingError, match="Load it again"):
        other.embed_query(TEXT)
    check_usable_again(model, expected)


def test_a_caller_that_loads_again_gets_the_truth(runtime, model):
    options = ServiceOptions("wait", **PATIENT)
    loader = OptimizedEmbeddingLoader(str(model.folder), "service", engine="numpy", service=options)
    expected = loader.load(timeout=WAIT_S).embed_query(TEXT)
    model.truncate()
    with pytest.raises(EmbeddingError):
        loader.load().embed_query(TEXT)
    loader.unload()
    with pytest.raises(ModelCorruptError):
        loader.load(timeout=WAIT_S)
    model.restore()
    loader.unload()
    np.testing.assert_allclose(loader.load(timeout=WAIT_S).embed_query(TEXT), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("start", ["detached", "wait", None])
def test_a_service_killed_by_a_truncated_file(runtime, model, start):
    """What the system does to a process that reads a page which is gone; here the signal comes from the test."""
    served(model=model.folder)
    asking, strict = load(start, model=model.folder, **PATIENT), load(None, model=model.folder, fallback=False)
    expected, pid, path = asking.embed_query(TEXT), runtime.pid(), runtime.socket
    model.truncate()
    os.kill(pid, signal.SIGBUS)
    ended(pid)
    with open(log_path(path)) as log:
        assert "Fatal Python error: Bus error" in log.read()
    assert last_words(path)
    with pytest.raises(EmbeddingError, match="Load it again"):
        asking.embed_query(TEXT)
    with pytest.raises(ServiceUnavailableError):
        strict.embed_query(TEXT)
    assert runtime.starts == [pid], "a service of weights that nobody asks for any more"
    check_usable_again(model, expected)


def test_a_service_killed_by_the_signal_alone_is_replaced(runtime, model):
    asking, waiting = load("wait", model=model.folder, **PATIENT), served(model=model.folder)
    expected, pid = asking.embed_query(TEXT), runtime.pid()
    os.kill(pid, signal.SIGBUS)
    ended(pid)
    np.testing.assert_allclose(waiting.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(asking.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert (asking.answered_by, runtime.pid() != pid) == ("service", True)


def test_a_file_that_is_only_added_changes_no_vectors(runtime, model):
    """Its service ends, because the folder has changed; the caller computes with the files it began with."""
    served(model=model.folder)
    asking = load(None, model=model.folder, **PATIENT)
    expected, pid = asking.embed_query(TEXT), runtime.pid()
    (model.folder / "README.md").write_text("added")
    ended(pid)
    np.testing.assert_allclose(asking.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert asking.answered_by == "process"
