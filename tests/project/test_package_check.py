"""Weights of an installed package are hashed after the first vector; wrong ones are refused, for good."""

import threading
import time

import pytest

from loader import ModelCorruptError, OptimizedEmbeddingLoader
from loader.model import packages as packages_module
from loader.model.packages import MODEL_PACKAGES, ModelPackage
from tests.conftest import MINILM

pytestmark = pytest.mark.real_model


@pytest.fixture
def from_package(own_cache, monkeypatch, tmp_path):
    """The model is to be found in its package only, and was never hashed."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))


def pinned_to(monkeypatch, digest):
    (known,) = (package for package in MODEL_PACKAGES if package.repo_id == MINILM)
    changed = ModelPackage(known.repo_id, known.distribution, known.module, known.subfolder, digest)
    monkeypatch.setattr(packages_module, "MODEL_PACKAGES", (changed,))


def test_right_weights_are_hashed_once_and_remembered(from_package, own_cache, monkeypatch):
    hashed = []
    real = packages_module.sha256_of
    monkeypatch.setattr(packages_module, "sha256_of", lambda path: hashed.append(path) or real(path))
    for _ in range(3):
        loader = OptimizedEmbeddingLoader(MINILM)
        assert loader.load().embed_query("database").shape == (384,)
        for thread in threading.enumerate():
            if thread.name == "embedding-loader:check":
                thread.join(60)
    assert len(hashed) == 1


def embed_for_a_minute(loader):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        loader.load().embed_query("database")


def test_wrong_weights_are_refused_for_good(from_package, monkeypatch):
    pinned_to(monkeypatch, "0" * 64)
    loader = OptimizedEmbeddingLoader(MINILM)
    with pytest.raises(ModelCorruptError, match="force-reinstall"):
        embed_for_a_minute(loader)
    with pytest.raises(ModelCorruptError):
        OptimizedEmbeddingLoader(MINILM).load()


def test_leaving_at_once_waits_for_the_hash_and_remembers_it(python, from_package, own_cache):
    code = f"""
from loader import OptimizedEmbeddingLoader
print(OptimizedEmbeddingLoader({MINILM!r}).load().embed_query("database").shape)
"""
    done = python(code)
    assert (done.code, done.out, done.err) == (0, "(384,)\n", "")
    assert len(list((own_cache / "hashes").iterdir())) == 1
