"""A panic of a library in Rust is no Exception: in whatever thread, callers get a LoaderError, and nobody hangs."""

from __future__ import annotations

import queue
import threading

import pytest

from loader import EmbeddingError, LoaderError, ModelLoadError, OptimizedEmbeddingLoader, compile_model
from loader.engines import numpy as engine_module
from loader.engines import onnx as other_engine_module
from loader.loading import stages as stages_module
from loader.loading.upgrade import PAYS_AFTER
from loader.model_parts import _Check
from tests.support.panics import make_panicking_model, panic
from tests.support.tiny_bert import TEXTS, make_tiny_bert

WAIT_S = 60


def panics(*_: object) -> None:
    panic()


def interrupts(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_text_for_which_the_tokenizer_panics(tmp_path):
    model = OptimizedEmbeddingLoader(make_panicking_model(tmp_path / "model"), engine="numpy")
    with pytest.raises(LoaderError):
        model.load().embed_query("\N{SLIGHTLY SMILING FACE}")


@pytest.mark.parametrize("stage", ["metadata", "tokenizer", "engine"])
def test_a_stage_of_a_load_that_panics(tmp_path, monkeypatch, stage):
    monkeypatch.setitem(stages_module.STAGES, stage, panics)
    model = OptimizedEmbeddingLoader(make_tiny_bert(tmp_path / "model"), "progressive", engine="numpy")
    with pytest.raises(ModelLoadError, match="PanicException"):
        model.load(WAIT_S)


def test_an_engine_that_panics_while_it_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "open_engine", panics)
    with pytest.raises(ModelLoadError, match=r"The engine numpy could not load .*PanicException"):
        OptimizedEmbeddingLoader(make_tiny_bert(tmp_path / "model"), engine="numpy").load(WAIT_S)


def test_an_engine_that_panics_while_it_embeds(tmp_path, monkeypatch):
    provider = OptimizedEmbeddingLoader(make_tiny_bert(tmp_path / "model"), engine="numpy").load(WAIT_S)
    with monkeypatch.context() as patched:
        patched.setattr(engine_module.NumpyEngine, "encode", panics)
        with pytest.raises(EmbeddingError, match="The engine numpy failed while embedding: index out of bounds"):
            provider.embed_query("a")
        patched.setattr(engine_module.NumpyEngine, "encode", interrupts)
        with pytest.raises(KeyboardInterrupt):  # not everything that is no Exception is a failure of the engine
            provider.embed_query("a")
    assert provider.embed_query("a").shape == (32,)


@pytest.mark.process
def test_a_faster_engine_that_panics_is_not_used(tmp_path, own_cache, monkeypatch):
    folder = make_tiny_bert(tmp_path / "model")
    compile_model(folder)
    monkeypatch.setenv("EMBEDDING_LOADER_KERNEL", "none")
    monkeypatch.setattr(other_engine_module, "open_engine", panics)
    ended = threading.Event()
    monkeypatch.setattr(
        "loader.loading.upgrade.log", lambda *said: ended.set() if "PanicException" in str(said) else None
    )
    provider = OptimizedEmbeddingLoader(folder, "progressive", "cpu").load(WAIT_S)
    provider.embed_batch(TEXTS * (PAYS_AFTER["onnx"] // len(TEXTS) + 1))
    assert ended.wait(WAIT_S)
    assert provider.engine == "numpy"
    assert provider.embed_query("a").shape == (32,)


@pytest.mark.process
def test_a_faster_engine_whose_vectors_cannot_be_compared_is_not_used(tmp_path, own_cache, monkeypatch):
    folder = make_tiny_bert(tmp_path / "model")
    compile_model(folder)
    monkeypatch.setenv("EMBEDDING_LOADER_KERNEL", "none")
    monkeypatch.setattr(other_engine_module.OnnxEngine, "encode", panics)
    ended = threading.Event()
    monkeypatch.setattr(
        "loader.loading.upgrade.log", lambda *said: ended.set() if "PanicException" in str(said) else None
    )
    provider = OptimizedEmbeddingLoader(folder, "progressive", "cpu").load(WAIT_S)
    provider.embed_batch(TEXTS * (PAYS_AFTER["onnx"] // len(TEXTS) + 1))
    assert ended.wait(WAIT_S)
    assert provider.engine == "numpy"


@pytest.mark.process
def test_a_thread_beside_the_callers_that_panics(tmp_path, own_cache, monkeypatch):
    folder = make_tiny_bert(tmp_path / "model")
    compile_model(folder)
    provider = OptimizedEmbeddingLoader(folder, "cached", "cpu", engine="onnx", threads=2).load(WAIT_S)
    compute, panicked = other_engine_module._compute, threading.Event()

    def panics_elsewhere(*arguments: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            panicked.set()
            panic()
        assert panicked.wait(WAIT_S)
        compute(*arguments)

    monkeypatch.setattr(other_engine_module, "_compute", panics_elsewhere)
    with pytest.raises(EmbeddingError, match="index out of bounds"):
        provider.embed_batch([f"text {number}" for number in range(other_engine_module.MANY_TEXTS)])


@pytest.mark.parametrize("error", [None, OSError("out of descriptors"), SystemExit()], ids=["panic", "error", "exit"])
def test_a_check_that_cannot_be_made_refuses_the_model(error):
    refused: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def check() -> None:
        if error is not None:
            raise error
        panic()

    _Check(check, refused.put).begin()
    assert type(refused.get(timeout=WAIT_S)) is ModelLoadError
