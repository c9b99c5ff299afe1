"""fork: a clear error or a working child, never a hang. Real processes; a hang would end in their time limit."""

import os

import pytest

from tests.conftest import MINILM
from tests.support.tiers import representative

pytestmark = [pytest.mark.real_model, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")]

CHILD = """
import os, signal, sys

def in_child(function, end=os._exit):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a hang ends the child by a signal
        try:
            function()
        except BaseException as error:
            print("raised", type(error).__name__)
        sys.stdout.flush()
        end(0)
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


WHILE_ANOTHER_THREAD_WORKS = """
import threading, time
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine=sys.argv[2])
texts = ["some text " * 20] * 8
provider = loader.load(timeout=None) if sys.argv[3] != "count_tokens" else None
use = {
    "embed_query": lambda: provider.embed_query("text").shape,
    "embed_batch": lambda: provider.embed_batch(texts).shape,
    "count_tokens": lambda: loader.count_tokens("text \\U0001F600"),  # which only the library knows
}[sys.argv[3]]
result = use()
done, going = 0, True

def work():
    global done
    while going:
        use()
        done += 1

thread = threading.Thread(target=work, daemon=True)
thread.start()
for _ in range(3):
    time.sleep(0.05)
    in_child(lambda: print(use() == result), sys.exit)
    before = done
    give_up = time.monotonic() + 30
    while done == before and time.monotonic() < give_up:
        time.sleep(0.01)
    if done == before:
        print("the parent's thread hangs")
        break
going = False
"""


@pytest.mark.parametrize(
    ("engine", "use", "answer"),
    [
        ("numpy", "embed_query", "True"),
        ("numpy", "embed_batch", "True"),
        ("numpy", "count_tokens", "True"),
        ("onnx", "embed_batch", "raised ForkError"),
    ],
)
def test_a_fork_while_another_thread_works_hangs_neither_child_nor_parent(python, artifacts, engine, use, answer):
    """The matrix library's threads and locks, ONNX Runtime's at exit: without the wait, most first children hung."""
    done = python(CHILD + WHILE_ANOTHER_THREAD_WORKS, MINILM, engine, use, timeout=150)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [answer, "child ended with 0"] * 3


def test_a_child_that_ends_normally_after_onnx_was_loaded_does_not_wait_for_its_threads(python, artifacts):
    """Nobody but the loader holds the sessions, which the child lets go of."""
    lines = run(
        python,
        """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="onnx")
print(loader.load(timeout=None).embed_batch(["text"] * 20).shape)

def child():
    print(loader.get_provider(), end=" ")
    loader.unload()
    print(OptimizedEmbeddingLoader(sys.argv[1], engine="numpy").load(timeout=None).embed_query("text").shape)

in_child(child, lambda code: sys.exit(7))
""",
    )
    assert lines == ["(20, 384)", "None (384,)", "child ended with 7"]


SLOW_IMPORT = """
import threading, time

class Slow:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[2]:
            importing.set()
            time.sleep(float(sys.argv[3]))

importing = threading.Event()
sys.meta_path.insert(0, Slow)
from loader import OptimizedEmbeddingLoader
from loader import exit_gate
"""


@pytest.mark.parametrize("module", ["numpy.linalg", "loader.engines.numpy", "tokenizers.decoders"])
def test_a_fork_in_the_middle_of_an_import_waits_for_it(python, module):
    """The import's locks belong to a thread that does not exist in the child."""
    done = python(
        CHILD
        + SLOW_IMPORT
        + """
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="numpy")
unusual = "text \\U0001F600"

def use():
    with exit_gate.GATE.section():
        pass
    return loader.load(timeout=None).embed_query(unusual).shape, loader.count_tokens(unusual)

thread = threading.Thread(target=use)
thread.start()
importing.wait(60)
in_child(lambda: print(use()))
thread.join()
""",
        MINILM,
        module,
        "0.5",
        timeout=150,
    )
    assert done.out.splitlines()[1:] == ["child ended with 0"], done
    assert done.out.startswith("((384,), ")


@pytest.mark.parametrize("module", ["logging", "concurrent.futures.thread"])
def test_a_fork_while_a_module_is_imported_that_holds_a_lock_over_forks(python, module):
    """PyTorch's import would wait for that lock, the fork for PyTorch's import, and Python would release it twice."""
    done = python(
        CHILD
        + SLOW_IMPORT
        + """
loading = OptimizedEmbeddingLoader(sys.argv[1], "background", engine="sentence_transformers")
loading.start_loading()
importing.wait(60)

def child():
    fresh = OptimizedEmbeddingLoader(sys.argv[1], engine="numpy")
    print(loading.get_provider(), fresh.load(timeout=None).embed_query("text").shape)

in_child(child)
import concurrent.futures.thread, logging
for lock in (concurrent.futures.thread._global_shutdown_lock, logging._lock):
    with lock:
        pass
""",
        MINILM,
        module,
        "0.5",
        timeout=150,
    )
    assert (done.out, done.err) == ("None (384,)\nchild ended with 0\n", "")


def test_a_child_that_could_not_wait_refuses_everything_at_once(python):
    done = python(
        CHILD
        + SLOW_IMPORT
        + """
from loader import ForkError
exit_gate.FORK_WAIT_S = 0.1
ready = OptimizedEmbeddingLoader(sys.argv[1], engine="numpy")
provider = ready.load(timeout=None)
loading = OptimizedEmbeddingLoader(sys.argv[1], "background", engine="onnx")
loading.start_loading()
importing.wait(60)

def child():
    fresh = OptimizedEmbeddingLoader(sys.argv[1], engine="numpy")
    for use in (
        lambda: provider.embed_query("text"),
        ready.load,
        loading.load,
        fresh.load,
        lambda: fresh.count_tokens("text"),
        fresh.get_metadata,
    ):
        try:
            print(use())
        except ForkError as error:
            print("did not pause" in str(error))

in_child(child)
""",
        MINILM,
        "onnxruntime",
        "2",
        timeout=150,
    )
    assert done.out.splitlines() == ["True"] * 6 + ["child ended with 0"], done


def test_preloading_and_forking_at_once_as_gunicorn_does(python):
    lines = run(
        python,
        """
from loader import get_embedding_provider, preload_embeddings
preload_embeddings(sys.argv[1], engine="numpy")
for _ in range(3):
    in_child(lambda: print(get_embedding_provider(sys.argv[1], engine="numpy").embed_query("text").shape))
""",
    )
    assert lines == ["(384,)", "child ended with 0"] * 3


@pytest.mark.parametrize("moment", representative({0.5}, [0.0, 0.05, 0.5, 1.5]))
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


@pytest.mark.parametrize("children", representative({1}, [1, 2]))
def test_a_loader_that_has_not_begun_works_in_the_child(python, children):
    lines = run(
        python,
        f"CHILDREN = {children}"
        """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], engine="sentence_transformers")

def child():
    print(loader.load(timeout=None).embed_query("text").shape)

for _ in range(CHILDREN):
    in_child(child)
print("parent", loader.load(timeout=None).embed_query("text").shape)
""",
    )
    assert lines == ["(384,)", "child ended with 0"] * children + ["parent (384,)"]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing_works_while_another_thread_embeds(python, tmp_path, method):
    (tmp_path / "pool_program.py").write_text(
        f"""
import multiprocessing
import threading
from loader import OptimizedEmbeddingLoader

def embed(text):
    return OptimizedEmbeddingLoader.get_instance({MINILM!r}, engine="numpy").load(timeout=None).embed_query(text).shape

def work():
    while True:
        embed("text")

if __name__ == "__main__":
    embed("text")
    threading.Thread(target=work, daemon=True).start()
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        print(pool.map(embed, ["text"]))
"""
    )
    done = python(None, "pool_program.py")
    assert done.out == "[(384,)]\n", done.err
