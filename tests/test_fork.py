"""fork: a clear error or a working child, never a hang. Real processes; a hang would end in their time limit."""

import os

import pytest

from tests.conftest import MINILM

pytestmark = [pytest.mark.real_model, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")]

CHILD = """
import os, signal, sys

def in_child(function):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a hang ends the child by a signal
        try:
            function()
        except BaseException as error:
            print("raised", type(error).__name__)
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print("child ended with", os.waitstatus_to_exitcode(status))
"""


def run(python, body):
    done = python(CHILD + body, MINILM, timeout=150)
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_a_model_loaded_before_fork_is_refused_in_the_child(python):
    lines = run(
        python,
        """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="sentence_transformers")
provider = loader.load(timeout=None)

def child():
    print(loader.get_provider(timeout=5), type(loader.get_error()).__name__, loader.is_loaded())
    try:
        provider.embed_query("text")
    except RuntimeError as error:
        print(type(error).__name__, "spawn" in str(error))
    fresh = OptimizedEmbeddingLoader(sys.argv[1], engine="sentence_transformers")
    print(fresh.get_provider(timeout=5), type(fresh.get_error()).__name__)

in_child(child)
print("parent", provider.embed_query("text").shape)
""",
    )
    assert lines == [
        "None ForkError False",
        "ForkError True",
        "None ForkError",
        "child ended with 0",
        "parent (384,)",
    ]


def test_a_model_of_the_numpy_engine_works_in_the_child(python):
    lines = run(
        python,
        """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="numpy")
provider = loader.load(timeout=None)
texts = ["some text " * 40] * 32
expected = provider.embed_batch(texts)

def child():
    print(abs(provider.embed_batch(texts) - expected).max() < 1e-6, loader.load() is provider)
    print(OptimizedEmbeddingLoader(sys.argv[1]).load(timeout=None).embed_query("text").shape)

in_child(child)
print("parent", provider.embed_query("text").shape)
""",
    )
    assert lines == ["True True", "(384,)", "child ended with 0", "parent (384,)"]


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.5, 1.5])
def test_a_fork_during_a_load_is_refused_in_the_child(python, moment):
    lines = run(
        python,
        f"""
import time
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], "background", engine="sentence_transformers")
loader.start_loading()
time.sleep({moment})

def child():
    print(loader.get_provider(timeout=5), type(loader.get_error()).__name__)

in_child(child)
print("parent", loader.load(timeout=None).dimension)
""",
    )
    assert lines == ["None ForkError", "child ended with 0", "parent 384"]


def test_a_loader_that_has_not_begun_works_in_the_child(python):
    lines = run(
        python,
        """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="sentence_transformers")

def child():
    print(loader.load(timeout=None).embed_query("text").shape)

in_child(child)
in_child(child)
print("parent", loader.load(timeout=None).embed_query("text").shape)
""",
    )
    assert lines == ["(384,)", "child ended with 0", "(384,)", "child ended with 0", "parent (384,)"]


def test_multiprocessing_spawn_works_after_a_load(python, tmp_path):
    (tmp_path / "pool_program.py").write_text(
        f"""
import multiprocessing
from loader import OptimizedEmbeddingLoader

def embed(text):
    return OptimizedEmbeddingLoader({MINILM!r}).load(timeout=None).embed_query(text).shape

if __name__ == "__main__":
    OptimizedEmbeddingLoader({MINILM!r}).load(timeout=None)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(embed, ["text"]))
"""
    )
    done = python(None, "pool_program.py")
    assert done.out == "[(384,)]\n", done.err
