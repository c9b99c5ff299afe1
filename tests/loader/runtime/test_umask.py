"""What this library writes is for its user alone, whatever the umask: also the parents of the cache's folder."""

import os

import pytest

from tests.support.tiny_bert import make_tiny_bert

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")]

USE = """
import os, sys
os.umask(0)
from loader import OptimizedEmbeddingLoader
from loader.service.folder import safe_folder
for strategy in ("lazy", "quantized", "cached"):
    OptimizedEmbeddingLoader(sys.argv[1], strategy, compile="now").load().embed_query("text")
if sys.platform != "win32":
    safe_folder(create=True)
"""


def test_with_umask_000(python, tmp_path):
    model = make_tiny_bert(tmp_path / "model")
    places = {"EMBEDDING_LOADER_CACHE": "cache", "EMBEDDING_LOADER_RUNTIME": "runtime"}
    done = python(USE, str(model), env={name: str(tmp_path / "new" / place / "x") for name, place in places.items()})
    assert done.code == 0, done
    made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {path.name for path in made} >= {"cache", "runtime", "metadata", "hashes", "artifacts", ".lock"}
    assert any(path.suffix == ".used" for path in made)
    assert [path for path in made if path.stat().st_mode & 0o077] == []
