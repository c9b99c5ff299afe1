"""A provider that is asked for many vectors moves to the engine onnx, and nobody notices but the clock."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loader import LoadingStrategy, OptimizedEmbeddingLoader, compile_model
from loader.loading.upgrade import MIN_COSINE, PAYS_AFTER
from tests.support.texts_corpus import varied_texts
from tests.support.tiny_models import Tiny

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package)

TEXTS = [text[:200] for text in varied_texts(64)]
AFTER = PAYS_AFTER["onnx"]
MOVING = (LoadingStrategy.PROGRESSIVE, LoadingStrategy.CACHED)
EXITS = int(os.environ.get("EXIT_SAMPLES", "12"))
"""Processes that leave at a random moment of a move."""


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch):
    """On a CPU, only a provider of the engine numpy has something to gain."""
    monkeypatch.setenv("EMBEDDING_LOADER_KERNEL", "none")


@pytest.fixture
def said(monkeypatch):
    """Collect what the library logs about moving: ``said.wait(part of a message)`` returns the message."""
    from loader.loading import upgrade

    class Said:
        def __init__(self):
            self.lines = []
            self.changed = threading.Condition()

        def __call__(self, level, message, *values):
            with self.changed:
                self.lines.append(f"{level}: {message % values}")
                self.changed.notify_all()

        def find(self, part):
            return next((line for line in self.lines if part in line), None)

        def wait(self, part):
            with self.changed:
                assert self.changed.wait_for(lambda: self.find(part), 60), f"nobody said {part!r}: {self.lines}"
                return self.find(part)

    recorder, log = Said(), upgrade.log

    def record(level, message, *values):
        log(level, message, *values)
        recorder(level, message, *values)

    monkeypatch.setattr(upgrade, "log", record)
    return recorder


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder(Tiny("bert"))


@pytest.fixture
def artifact(folder, own_cache):
    """The model, prepared, in the cache of this test alone."""
    return Path(compile_model(folder))


def load(folder, strategy, **options):
    return OptimizedEmbeddingLoader(folder, strategy, **{"device": "cpu"} | options).load(timeout=None)


def embed(provider, count):
    """Have so many texts embedded, in calls of different sizes."""
    done = 0
    while done < count:
        some = min(count - done, len(TEXTS))
        provider.embed_batch(TEXTS[:some])
        done += some


def watches(provider):
    """Whether texts are still counted."""
    return provider._watcher is not None


@pytest.mark.parametrize("strategy", MOVING)
def test_many_texts_move_a_provider(strategy, folder, artifact, said):
    provider = load(folder, strategy)
    assert provider.engine == "numpy"
    before = provider.embed_batch(TEXTS)
    facts = (provider.dimension, provider.max_seq_length, provider.precision, provider.device, provider.model_name)
    counted = 1 + len(TEXTS)  # with the warm-up, if it came in time
    embed(provider, AFTER - 1 - counted)
    assert provider.engine == "numpy"
    assert watches(provider)
    embed(provider, 2 + counted)
    assert said.wait("moved from the engine numpy to onnx").startswith("info")
    assert provider.engine == "onnx"
    assert not watches(provider)
    after = provider.embed_batch(TEXTS)
    cosines = np.sum(before * after, axis=1)
    assert np.min(cosines) >= max(MIN_COSINE, 0.99999)
    assert not np.array_equal(before, after), "these are another engine's"
    assert (
        provider.dimension,
        provider.max_seq_length,
        provider.precision,
        provider.device,
        provider.model_name,
    ) == facts
    assert len(said.lines) == 1


def test_single_texts_and_streams_are_counted_as_well(folder, artifact, said):
    provider = load(folder, "progressive")
    for _ in range(AFTER // 4):
        provider.embed_query("database")
        provider.embed_chunk("database")
    for _ in provider.embed_stream(TEXTS * (AFTER // 2 // len(TEXTS) + 1)):
        pass
    said.wait("moved from")
    assert provider.engine == "onnx"


def test_one_call_of_very_many_texts_changes_engines_under_way(folder, artifact, said):
    """What such a call returns is of both engines, in the right order."""
    provider = load(folder, "progressive")
    expected = provider.embed_batch(TEXTS)
    vectors = provider.embed_batch(TEXTS * 200)
    said.wait("moved from")
    assert vectors.shape == (200 * len(TEXTS), provider.dimension)
    cosines = np.sum(vectors.reshape(200, len(TEXTS), -1) * expected, axis=2)
    assert np.min(cosines) >= 0.99999


def test_calls_from_many_threads_during_the_move_all_succeed(folder, artifact, said):
    provider = load(folder, "progressive")
    expected = provider.embed_batch(TEXTS)
    engines, moved = set(), threading.Event()

    def work(_):
        rounds, least = 0, 1.0
        while rounds < 5 or not moved.is_set():
            engines.add(provider.engine)
            vectors = provider.embed_batch(TEXTS)
            least = min(least, float(np.min(np.sum(vectors * expected, axis=1))))
            least = min(least, float(provider.embed_chunk(TEXTS[0]) @ expected[0]))
            rounds += 1
        return least

    with ThreadPoolExecutor(6) as pool:
        results = [pool.submit(work, number) for number in range(6)]
        try:
            said.wait("moved from")
        finally:
            moved.set()
        assert min(result.result(60) for result in results) >= 0.99999
    engines.add(provider.engine)
    assert engines == {"numpy", "onnx"}
    assert len(said.lines) == 1, "it moved once"


@pytest.mark.parametrize("strategy", MOVING)
def test_without_a_prepared_model_it_stays_and_works(strategy, folder, own_cache, said):
    provider = load(folder, strategy)
    expected = provider.embed_batch(TEXTS)
    embed(provider, AFTER)
    assert "stays with the engine numpy" in said.wait("stays")
    assert "loader compile" in said.lines[0]
    embed(provider, AFTER)
    assert provider.engine == "numpy"
    assert not watches(provider), "it is tried once"
    assert len(said.lines) == 1
    assert np.array_equal(provider.embed_batch(TEXTS), expected)


@pytest.mark.parametrize("damage", ["graph", "weights", "manifest", "gone"])
def test_a_damaged_prepared_model_is_left_alone(damage, folder, artifact, said):
    if damage == "gone":
        (artifact / "model.onnx").unlink()
    else:
        path = artifact / {"graph": "model.onnx", "weights": "model.safetensors", "manifest": "artifact.json"}[damage]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    provider = load(folder, "progressive")
    expected = provider.embed_batch(TEXTS)
    embed(provider, AFTER)
    said.wait("stays with the engine numpy")
    assert provider.engine == "numpy"
    assert np.array_equal(provider.embed_batch(TEXTS), expected)


def test_another_models_vectors_are_not_taken(folder, artifact, said, tiny_folder):
    """The last check before the move: an engine whose vectors differ, here because its weights were exchanged since."""
    import json
    import shutil

    from loader.model.file_hash import sha256_of

    other = compile_model(tiny_folder(Tiny("bert", seed=9)), output=artifact.parent.parent / "other")
    shutil.copy(Path(other) / "model.safetensors", artifact / "model.safetensors")
    manifest = json.loads((artifact / "artifact.json").read_text())
    for entry in manifest["files"]:
        if entry["name"] == "model.safetensors":
            entry["sha256"] = sha256_of(str(artifact / "model.safetensors"))
    (artifact / "artifact.json").write_text(json.dumps(manifest))
    provider = load(folder, "progressive")
    expected = provider.embed_batch(TEXTS)
    embed(provider, AFTER)
    assert said.wait("differ").startswith("warning")
    assert provider.engine == "numpy"
    assert np.array_equal(provider.embed_batch(TEXTS), expected)


@pytest.mark.parametrize(
    ("strategy", "engine"),
    [
        ("lazy", "auto"),
        ("background", "auto"),
        ("progressive", "numpy"),
        ("cached", "numpy"),
        ("progressive", "sentence_transformers"),
    ],
)
def test_others_never_move(strategy, engine, folder, artifact, said):
    provider = load(folder, strategy, engine=engine)
    used = "numpy" if engine == "auto" else engine
    assert provider.engine == used
    assert not watches(provider), "nobody counts"
    embed(provider, AFTER + 1)
    assert provider.engine == used
    assert said.lines == []


def test_a_provider_that_is_onnx_from_the_start_does_not_move(folder, artifact, said):
    provider = load(folder, "cached", engine="onnx")
    embed(provider, AFTER + 1)
    assert provider.engine == "onnx"
    assert not watches(provider)
    assert said.lines == []


ONE_TEXT = """
import sys
from loader import OptimizedEmbeddingLoader
provider = OptimizedEmbeddingLoader(sys.argv[1], sys.argv[2], "cpu").load(timeout=None)
provider.embed_query("database connection")
print(provider.engine, sorted({"onnxruntime", "onnx", "torch", "loader.engines.onnx"} & set(sys.modules)))
"""


@pytest.mark.parametrize("strategy", MOVING)
def test_one_text_imports_no_other_engine(strategy, folder, artifact, python):
    done = python(ONE_TEXT, folder, str(strategy))
    assert (done.code, done.out, done.err) == (0, "numpy []\n", "")


LEAVE_WHILE_MOVING = f"""
import sys, time
from loader import OptimizedEmbeddingLoader
provider = OptimizedEmbeddingLoader(sys.argv[1], "progressive", "cpu").load(timeout=None)
provider.embed_batch(["a"] * {AFTER})
time.sleep(float(sys.argv[2]))
print(provider.engine)
"""


@pytest.mark.parametrize("exits", [4, pytest.param(EXITS, marks=pytest.mark.slow)])
def test_leaving_at_a_random_moment_of_a_move(folder, artifact, python, exits):
    rng = random.Random(0)
    moments = [0.0, *(rng.uniform(0, 0.5) for _ in range(exits - 2)), 3.0]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda moment: python(LEAVE_WHILE_MOVING, folder, str(moment)), moments))
    assert [
        (moment, done) for moment, done in zip(moments, ended, strict=True) if (done.code, done.err) != (0, "")
    ] == []
    assert {done.out.strip() for done in ended} <= {"numpy", "onnx"}
