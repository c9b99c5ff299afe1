"""From the start of a process to its exit, a vector as bytes needs little more than the interpreter itself."""

import pytest

from loader import LoaderError
from loader.engines.native import kernel
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

HEAVY = {"numpy", "tokenizers", "torch", "onnxruntime", "platformdirs", "psutil"}
SLOW = {
    "contextlib",
    "dataclasses",
    "hashlib",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "re",
    "subprocess",
    "threading",
}

ASKS = """
import atexit, sys
before = set(sys.modules)
atexit.register(lambda: print(*(set(sys.modules) - before)))  # the first to register is the last to be called
from loader import get_embedding_provider
provider = get_embedding_provider(sys.argv[1], sys.argv[2])
provider.embed_query_bytes("database connection"), provider.embed_batch_bytes(["database", "connection"])
print(provider.engine, provider.precision)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    try:
        kernel()
    except LoaderError as error:
        pytest.skip(str(error))
    return Tiny("bert").save(tmp_path_factory.mktemp("first") / "model")


@pytest.mark.parametrize("strategy", ["lazy", "background", "progressive", "quantized", "cached"])
def test_nothing_slow_is_imported_until_exit(python, own_cache, folder, strategy):
    for _ in range(2):  # with 8 bits, the first prepares the model, and the second hashes what was made
        assert python(ASKS, folder, strategy).code == 0
    done = python(ASKS, folder, strategy)
    assert done.code == 0, done.err
    answered, imported = done.out.splitlines()
    assert answered == f"native {'int8' if strategy == 'quantized' else 'float32'}"
    packages = {name.partition(".")[0] for name in imported.split()}
    assert "loader" in packages
    assert not packages & (HEAVY | SLOW)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_a_prepared_tokenizer_imports_nothing_slow_either(python, own_cache, folder, tmp_path, family):
    model = Tiny(family).save(tmp_path / "model")
    assert python(None, "-m", "loader.text.preparing", model, "a model").code == 0
    done = python(ASKS, model, "progressive", env={"EMBEDDING_LOADER_TOKENIZER": None})
    assert done.code == 0, done.err
    answered, imported = done.out.splitlines()
    assert answered == "native float32"
    packages = {name.partition(".")[0] for name in imported.split()}
    assert "loader.text.prepared" in imported.split()
    assert not packages & (HEAVY | SLOW)
