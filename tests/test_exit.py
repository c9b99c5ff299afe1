"""Processes that end at any moment end well: exit code 0, nothing on stderr. Real processes, real PyTorch."""

import math
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from loader import LoadingStrategy, ShutdownError
from loader.engines import ENGINES
from tests.conftest import MINILM, combinations

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(900)]

EXITS = int(os.environ.get("EXIT_SAMPLES", "100"))
"""Processes for each strategy and engine."""

LEAVE = """
import sys, time
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], sys.argv[2], engine=sys.argv[3])
loader.start_loading()
time.sleep(float(sys.argv[4]))
"""

LEAVE_WHILE_EMBEDDING = """
import sys, threading, time
from loader import OptimizedEmbeddingLoader
provider = OptimizedEmbeddingLoader(sys.argv[1], sys.argv[2], engine=sys.argv[3]).load(timeout=None)
def embed():
    while True:
        try:
            provider.embed_batch(["some text " * 50] * 8)
        except Exception:
            return
for _ in range(2):
    threading.Thread(target=embed, daemon=True).start()
time.sleep(float(sys.argv[4]))
"""

INSTALLED = [spec.name for spec in ENGINES if not spec.missing()]


def leave_all(python, code, strategy, engine, moments):
    """Return the processes that did not end well."""

    def leave(moment):
        done = python(code, MINILM, strategy, engine, str(moment))
        return None if (done.code, done.out, done.err) == (0, "", "") else (moment, done)

    with ThreadPoolExecutor(2) as pool:
        return [bad for bad in pool.map(leave, moments) if bad]


@pytest.mark.parametrize(("strategy", "engine"), combinations())
def test_leaving_at_a_random_moment_of_a_load(python, artifacts, strategy, engine):
    rng = random.Random(f"{strategy} {engine}")
    # Evenly over the orders of magnitude: from the thread's first steps to the warm-up at the end.
    last = 8.0 if engine == "sentence_transformers" else 0.4
    moments = [math.exp(rng.uniform(math.log(0.001), math.log(last))) for _ in range(EXITS)]
    if strategy is LoadingStrategy.LAZY:
        moments = [moment / 100 for moment in moments]  # nothing is under way, whenever it is
    assert leave_all(python, LEAVE, strategy, engine, moments) == []


@pytest.mark.parametrize("engine", INSTALLED)
def test_leaving_while_daemon_threads_embed(python, artifacts, engine):
    rng = random.Random(engine)
    moments = [rng.uniform(0, 0.3) for _ in range(6)]
    assert leave_all(python, LEAVE_WHILE_EMBEDDING, "lazy", engine, moments) == []


def test_leaving_by_an_error_keeps_its_message_and_code(python):
    code = """
from loader import preload_embeddings
preload_embeddings()
raise SystemExit("mycli: no such command")
"""
    done = python(code)
    assert (done.code, done.err) == (1, "mycli: no such command\n")


def test_embedding_in_an_exit_handler_still_works(python):
    code = f"""
import atexit
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader({MINILM!r})
atexit.register(lambda: print(loader.load().embed_query("goodbye").shape))
loader.load(timeout=None)
"""
    done = python(code)
    assert (done.code, done.out, done.err) == (0, "(384,)\n", "")


def test_asking_in_an_exit_handler_for_a_load_that_was_stopped(python):
    """Handlers registered before the loader's own run after it: the load has been stopped, and says so."""
    code = f"""
import atexit
def ask():
    print(loader.get_provider(timeout=60), type(loader.get_error()).__name__)
atexit.register(ask)
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader({MINILM!r}, "background")
loader.start_loading()
"""
    done = python(code)
    assert (done.code, done.out, done.err) == (0, "None ShutdownError\n", "")


class TestEverythingIsDestroyedInsideTheGate:
    """Dropping half a model is native work too: an aborted exit in 100 was a traceback freed just outside the gate."""

    @pytest.fixture
    def destroyed(self, monkeypatch):
        """Run a load whose engine stage does ``body(load, fragment)``; return where the fragment was destroyed."""
        from loader import OptimizedEmbeddingLoader
        from loader import stages as stages_module
        from loader.exitgate import GATE

        def run(body, *, keep):
            places, done = [], threading.Event()

            class Fragment:
                def warm_up(self):
                    """Stand in for a provider."""

                def __del__(self):
                    places.append(threading.get_ident() in GATE._depth_by_thread)
                    done.set()

            def stage(load):
                fragment = Fragment()
                assert released.wait(30)
                body(load, fragment)

            monkeypatch.setitem(stages_module.STAGES, "engine", stage)
            released = threading.Event()
            loader = OptimizedEmbeddingLoader("made-up", "background")
            loader.start_loading()
            kept = loader if keep else None
            del loader
            released.set()
            assert done.wait(30)
            return places, kept

        return run

    def test_an_interrupted_load(self, destroyed):
        from loader.exitgate import LoadInterrupted

        def interrupt(load, fragment):
            raise LoadInterrupted

        places, loader = destroyed(interrupt, keep=True)
        assert places == [True]
        with pytest.raises(ShutdownError):
            loader.load()

    def test_a_failed_load_whose_error_is_kept(self, destroyed):
        def fail(load, fragment):
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error

        places, loader = destroyed(fail, keep=True)
        assert places == [True]
        assert isinstance(loader.get_provider() or loader.get_error().__cause__, ValueError)

    def test_a_load_whose_loader_was_dropped(self, destroyed):
        def publish(load, fragment):
            load.provider = fragment

        places, _ = destroyed(publish, keep=False)
        assert places == [True]
