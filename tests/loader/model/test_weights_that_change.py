"""Weights that change under a loader: replaced, truncated or overwritten while a model uses them."""

import os
import shutil
import threading

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from loader.artifacts.compile import compile_model
from loader.model.safetensors import MappedTensors
from loader.runtime.paths import other_writers
from tests.loader.model.test_safetensors import entry, write
from tests.support.tiny_bert import TEXTS, make_tiny_bert
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.timeout(60)


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be replaced")
def test_a_file_that_is_replaced_while_it_is_opened_is_read_as_one(tmp_path):
    """Header and numbers come from one file, however often another one takes its name."""
    path = tmp_path / "model.safetensors"
    versions = []
    for number, split in enumerate((8, 24)):
        header = {"a": entry(0, split), "b": entry(split, 32)}
        versions.append(write(tmp_path / str(number), header, bytes([number]) * 32))
    stop = threading.Event()

    def replace():
        while not stop.is_set():
            for version in versions:
                shutil.copyfile(version, f"{path}.new")
                os.replace(f"{path}.new", path)

    shutil.copyfile(versions[0], path)
    thread = threading.Thread(target=replace)
    thread.start()
    seen = set()
    try:
        for _ in range(3000):
            tensors = MappedTensors([str(path)])
            content = tensors.floats("a").tobytes()
            seen.add((len(content), content[0]))
    finally:
        stop.set()
        thread.join()
    assert seen <= {(8, 0), (24, 1)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def expected(tiny):
    return OptimizedEmbeddingLoader(str(tiny)).load().embed_batch(TEXTS)


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be replaced")
@pytest.mark.parametrize("engine", ["numpy", pytest.param("onnx", marks=pytest.mark.process)])
def test_a_model_file_that_is_replaced_goes_on_giving_the_same_vectors(tmp_path, own_cache, engine):
    model, other = make_tiny_bert(tmp_path / "model"), make_tiny_bert(tmp_path / "other", seed=1)
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        model = tmp_path / "artifact"
        compile_model(str(tmp_path / "model"), output=model)
    loader = OptimizedEmbeddingLoader(str(model), engine=engine)
    provider = loader.load()
    before = provider.embed_batch(TEXTS)
    os.replace(other / "model.safetensors", model / "model.safetensors")
    assert np.array_equal(provider.embed_batch(TEXTS), before)
    loader.unload()
    if engine == "numpy":
        assert not np.allclose(loader.load().embed_batch(TEXTS), before, atol=0.1), "the new file is not read"


CHANGE_IN_PLACE = """
import os, sys
from loader import EmbeddingError, ModelCorruptError, ModelError, OptimizedEmbeddingLoader
model, weights, how, strategy, engine = sys.argv[1:]
loader = OptimizedEmbeddingLoader(model, strategy, engine=engine)
provider = loader.load()
provider.embed_query("before")
size = os.path.getsize(weights)
if how == "truncated":
    os.truncate(weights, 100)
elif how == "emptied":
    open(weights, "wb").close()
else:
    with open(weights, "r+b") as file:
        file.seek(size // 2)
        file.write(bytes(1000))
for texts in (["after"], ["after"] * 40):
    try:
        provider.embed_batch(texts)
        print("no error")
    except EmbeddingError as error:
        assert isinstance(error.__cause__, ModelCorruptError), error.__cause__
        print("typed:", error)
loader.unload()
try:
    loader.load()
    print("loaded")
except ModelError as error:
    print("refused")
"""


@pytest.mark.skipif(os.name == "nt", reason="mapped files cannot be changed")
@pytest.mark.parametrize("engine", ["native", "numpy", "onnx"])
@pytest.mark.parametrize("how", ["truncated", "emptied", "overwritten"])
def test_a_file_that_is_changed_in_place_ends_in_a_typed_error(python, tmp_path, how, engine):
    model = make_tiny_bert(tmp_path / "model", inner=4096)  # more than a page: the missing ones would kill the process
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        compile_model(str(model), output=tmp_path / "artifact")
        model = tmp_path / "artifact"
    done = python(CHANGE_IN_PLACE, str(model), str(model / "model.safetensors"), how, "lazy", engine)
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, ""), done
    assert len(lines) == 3
    for line in lines[:2]:
        assert line.startswith("typed:")
        assert "changed in place" in line
    # Zeros where weights were are a model as well, unless somebody vouched for the file.
    assert lines[2] == ("loaded" if how == "overwritten" and engine != "onnx" else "refused")


TRUNCATED_IN_THE_MIDDLE = """
import os, sys
from loader import EmbeddingError, ModelCorruptError, OptimizedEmbeddingLoader
model, weights, engine = sys.argv[1:]
provider = OptimizedEmbeddingLoader(model, engine=engine, threads=1).load(timeout=None)
provider.embed_query("before")
runs = 0

def between_runs():
    global runs
    runs += 1
    if runs == 3:
        os.truncate(weights, 100)

from loader.exit_gate import GATE
GATE.checkpoint = between_runs  # which each engine calls between two runs
try:
    provider.embed_batch(["the quick brown fox"] * 64, batch_size=4)
    print("no error")
except EmbeddingError as error:
    assert isinstance(error.__cause__, ModelCorruptError), error.__cause__
    print(runs, error)
"""


@pytest.mark.skipif(os.name == "nt", reason="mapped files cannot be changed")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["native", "numpy", "numpy-dense", "onnx", "sentence_transformers"])
def test_a_file_that_is_truncated_in_the_middle_of_a_long_batch_does_not_kill_the_process(
    python, tmp_path, tiny_folder, engine
):
    weights = "model.safetensors"
    if engine in {"numpy-dense", "sentence_transformers"}:
        pytest.importorskip("sentence_transformers")
        model = tmp_path / "model"
        shutil.copytree(tiny_folder(Tiny(inner=4096, dense=(("Tanh", True),))), model)
        if engine == "numpy-dense":
            engine, weights = "numpy", "2_Dense/model.safetensors"
    else:
        model = make_tiny_bert(tmp_path / "model", inner=4096)
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        compile_model(str(model), output=tmp_path / "artifact")
        model = tmp_path / "artifact"
    done = python(TRUNCATED_IN_THE_MIDDLE, str(model), str(model / weights), engine)
    assert done.code == 0, done
    assert done.out.startswith("3 ")
    assert f"{weights} was changed in place" in done.out


WRITTEN_DURING_THE_LAST_RUN = """
import sys
from loader import EmbeddingError, ModelCorruptError, OptimizedEmbeddingLoader
from loader.exit_gate import GATE
model, weights, engine = sys.argv[1:]
provider = OptimizedEmbeddingLoader(model, engine=engine).load(timeout=None)
provider.embed_query("before")

def overwrite():
    with open(weights, "r+b") as file:
        file.seek(-1000, 2)
        file.write(bytes(1000))

GATE.checkpoint = overwrite  # which each engine calls after a run
try:
    provider.embed_query("during")
    print("no error")
except EmbeddingError as error:
    assert isinstance(error.__cause__, ModelCorruptError), error.__cause__
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="mapped files cannot be changed")
@pytest.mark.parametrize("engine", ["native", "numpy", "onnx", "sentence_transformers"])
def test_vectors_of_a_file_that_was_written_to_meanwhile_are_not_returned(python, tmp_path, engine):
    model = make_tiny_bert(tmp_path / "model")
    if engine == "sentence_transformers":
        pytest.importorskip("sentence_transformers")
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        compile_model(str(model), output=tmp_path / "artifact")
        model = tmp_path / "artifact"
    done = python(WRITTEN_DURING_THE_LAST_RUN, str(model), str(model / "model.safetensors"), engine)
    assert done.code == 0, done
    assert "changed in place" in done.out


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_a_file_that_others_may_write_to_is_named_in_the_log(tmp_path, caplog):
    path = make_tiny_bert(tmp_path / "model") / "model.safetensors"
    path.chmod(0o644)
    MappedTensors([str(path)])
    assert caplog.messages == []
    path.chmod(0o666)
    MappedTensors([str(path)])
    (message,) = caplog.messages
    assert message.startswith(f"{path} can be changed by every user")


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
@pytest.mark.parametrize(
    ("mode", "is_own", "own_group", "writers"),
    [
        (0o644, True, True, None),
        (0o664, True, True, None),  # where every user has a group of their own
        (0o664, True, False, "group"),
        (0o646, True, True, "every user"),
        (0o600, False, True, "user"),
    ],
)
def test_who_else_may_write(tmp_path, monkeypatch, mode, is_own, own_group, writers):
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(mode)
    found = path.stat()
    owner = found.st_uid if is_own else found.st_uid + 1000
    values = [found.st_mode, 0, 0, 1, owner, found.st_gid, 0, 0, 0, 0]
    monkeypatch.setattr(os, "getegid", lambda: found.st_gid if own_group else found.st_gid + 1)
    said = other_writers(os.stat_result(values))
    assert said is None if writers is None else said is not None and said.startswith(writers)


@pytest.mark.skipif(os.name == "nt", reason="mapped files cannot be changed")
@pytest.mark.real_model
def test_the_real_model_truncated_in_place(python, tmp_path, minilm_folder):
    model = tmp_path / "model"
    shutil.copytree(minilm_folder, model, copy_function=shutil.copyfile)
    done = python(CHANGE_IN_PLACE, str(model), str(model / "model.safetensors"), "truncated", "progressive", "auto")
    assert (done.code, done.err) == (0, ""), done
    assert "no error" not in done.out
    assert done.out.count("changed in place") == 2


def test_the_expected_vectors_tell_models_and_texts_apart(tiny, expected, tmp_path):
    """What the tests here compare with: neither another text nor another model comes near."""
    other = OptimizedEmbeddingLoader(str(make_tiny_bert(tmp_path / "other", seed=1))).load().embed_batch(TEXTS)
    assert np.max(np.abs(np.sum(expected * other, axis=1))) < 0.5
    assert np.max(expected @ expected.T - np.eye(len(TEXTS))) < 0.95


def test_a_program_that_froze_its_objects_ends_without_a_word(python, tiny_folder):
    """Then modules are cleared before the file's last reference is gone."""
    code = """
import gc, sys
from loader import load
load(sys.argv[1], "lazy").embed_query_bytes("text")
gc.freeze()
"""
    done = python(code, str(tiny_folder(Tiny("bert"))))
    assert (done.code, done.err) == (0, "")
