"""Processes that end at any moment end well: exit code 0, nothing on stderr. Real processes, real PyTorch."""

import math
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from loader import LoadingStrategy
from loader.engines import ENGINES
from tests.conftest import MINILM, combinations
from tests.support.tiers import representative

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(900)]

EXITS = int(os.environ.get("EXIT_SAMPLES", "20"))
"""Processes for each strategy and engine, where moments are random; with PyTorch, which takes seconds, half as many."""
CHOSEN = {
    ("progressive", "native"),
    ("progressive", "numpy"),
    ("background", "sentence_transformers"),
    ("cached", "onnx"),
    ("quantized", "onnx"),
    ("service", "native"),
}
"""Each engine, and each strategy that has something under way, at a few moments."""

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
WHILE_EMBEDDING = [(engine, exits) for engine in INSTALLED for exits in (2, 6)]


def leave_all(python, code, strategy, engine, moments):
    """Return the processes that did not end well."""

    def leave(moment):
        done = python(code, MINILM, strategy, engine, str(moment))
        return None if (done.code, done.out, done.err) == (0, "", "") else (moment, done)

    with ThreadPoolExecutor(2) as pool:
        return [bad for bad in pool.map(leave, moments) if bad]


def test_what_is_chosen_has_each_engine_and_each_strategy_that_loads_by_itself():
    strategies, engines = zip(*CHOSEN, strict=True)
    assert set(strategies) == {*LoadingStrategy} - {LoadingStrategy.LAZY}
    assert set(engines) == {spec.name for spec in ENGINES}


def last_moment(engine):
    """When a load may have ended, in seconds."""
    return 8.0 if engine == "sentence_transformers" else 0.4


@pytest.mark.parametrize(("strategy", "engine"), [pair for pair in combinations() if pair in CHOSEN])
def test_leaving_at_a_few_moments_of_a_load(python, artifacts, strategy, engine):
    moments = [0.001, *(last_moment(engine) * part for part in (0.05, 0.15, 0.4))]
    assert leave_all(python, LEAVE, strategy, engine, moments) == []


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "engine"), combinations())
def test_leaving_at_a_random_moment_of_a_load(python, artifacts, strategy, engine):
    rng = random.Random(f"{strategy} {engine}")
    exits = EXITS // 2 if engine == "sentence_transformers" else EXITS
    # Evenly over the orders of magnitude: from the thread's first steps to the warm-up at the end.
    moments = [math.exp(rng.uniform(math.log(0.001), math.log(last_moment(engine)))) for _ in range(exits)]
    if strategy is LoadingStrategy.LAZY:
        moments = [moment / 100 for moment in moments[::5]]  # nothing is under way, whenever it is
    assert leave_all(python, LEAVE, strategy, engine, moments) == []


@pytest.mark.parametrize(("engine", "exits"), representative({(engine, 2) for engine in INSTALLED}, WHILE_EMBEDDING))
def test_leaving_while_daemon_threads_embed(python, artifacts, engine, exits):
    rng = random.Random(engine)
    moments = [rng.uniform(0, 0.3) for _ in range(exits)]
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
