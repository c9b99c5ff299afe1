"""A tiny model and what is prepared of it, once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest

from loader.artifacts.compile import compile_model
from tests.support.prepared import copied, load
from tests.support.tiny_bert import TEXTS, make_tiny_bert


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def expected(tiny):
    """The vectors of ``TEXTS`` at full precision."""
    return load(tiny, engine="numpy").embed_batch(TEXTS)


@pytest.fixture(scope="session")
def pristine(tiny, tmp_path_factory):
    """A store that holds the tiny model in both precisions; by precision the folder's name."""
    cache = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDDING_LOADER_CACHE", str(cache))
        names = {precision: Path(compile_model(str(tiny), precision)).name for precision in ("float32", "int8")}
    return cache / "artifacts", names


@pytest.fixture(scope="session")
def made(pristine, tmp_path_factory):
    """Artifacts of the tiny model in folders of their own, by precision."""
    source, names = pristine
    folder = tmp_path_factory.mktemp("made")
    return {precision: copied(source / name, folder / precision) for precision, name in names.items()}


@pytest.fixture
def stored(own_cache, pristine):
    """Put a copy of a pristine artifact into this test's store: ``stored(precision)`` returns the folder."""

    def put(precision):
        source, names = pristine
        target = own_cache / "artifacts" / names[precision]
        shutil.rmtree(target, ignore_errors=True)
        return copied(source / names[precision], target)

    return put
