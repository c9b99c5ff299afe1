"""Pickled weights are converted by compile, in a child process that runs no code of theirs."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from loader import CompileError, ModelUnsupportedError, OptimizedEmbeddingLoader, compile_model
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

TEXTS = ["database connection", "x", "A longer text, with \u00e9 and more."]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A model with a Dense module."""
    return Path(Tiny("bert", dense=(("Tanh", True),)).save(tmp_path_factory.mktemp("pickled") / "model"))


def pickled(original, folder, *, parts=1):
    """Return a copy of the model with nothing but pickled weights, perhaps in several files."""
    import shutil

    import torch
    from safetensors.torch import load_file

    shutil.copytree(original, folder)
    for path in folder.rglob("model.safetensors"):
        tensors = load_file(path)
        if parts == 1 or path.parent != folder:
            torch.save(tensors, path.with_name("pytorch_model.bin"))
        else:
            names = sorted(tensors)
            weights = {}
            for part in range(parts):
                file = f"pytorch_model-{part:05}-of-{parts:05}.bin"
                chosen = names[part::parts]
                torch.save({name: tensors[name] for name in chosen}, folder / file)
                weights |= dict.fromkeys(chosen, file)
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weights}))
        path.unlink()
    return folder


def vectors(folder, strategy="progressive"):
    provider = OptimizedEmbeddingLoader(folder, strategy).load(timeout=None)
    assert provider.engine in {"native", "numpy"}
    return provider.embed_batch(TEXTS)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_converted_model_is_the_same_model(original, tmp_path, parts):
    model = pickled(original, tmp_path / "pickled", parts=parts)
    made = compile_model(model, output=tmp_path / "made")
    assert np.array_equal(vectors(made), vectors(original))
    assert not list(Path(made).rglob("*.bin"))
    assert list(tmp_path.glob(".scratch*")) == []


def test_eight_bits_of_pickled_weights(original, tmp_path):
    model = pickled(original, tmp_path / "pickled")
    made = compile_model(model, "int8", tmp_path / "made")
    assert np.array_equal(
        vectors(made, "quantized"), vectors(compile_model(original, "int8", tmp_path / "other"), "quantized")
    )


def test_the_error_names_the_command(original, tmp_path, python, own_cache):
    model = pickled(original, tmp_path / "pickled")
    with pytest.raises(ModelUnsupportedError, match=r"python -m loader compile .*pickled --output DIR"):
        OptimizedEmbeddingLoader(model).load(timeout=None)
    with pytest.raises(CompileError, match="--output DIR"):
        compile_model(model)
    done = python(None, "-m", "loader", "compile", str(model), "--output", str(tmp_path / "made"))
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "made")), done.err


class Runs:
    """What pickles to a call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("what", ["code", "numbers", "a list", "half of it", "nothing"])
def test_what_is_no_weights_is_refused_and_runs_nothing(original, tmp_path, what):
    import torch

    model = pickled(original, tmp_path / "pickled")
    path, trace = model / "pytorch_model.bin", tmp_path / "trace"
    content = path.read_bytes()
    if what == "code":
        path.write_bytes(pickle.dumps({"embeddings.word_embeddings.weight": Runs(str(trace))}))
    elif what == "numbers":
        torch.save({"embeddings.word_embeddings.weight": 5}, path)
    elif what == "a list":
        torch.save([torch.zeros(3)], path)
    else:
        path.write_bytes(content[: len(content) // 2] if what == "half of it" else b"")
    with pytest.raises(CompileError, match=r"pytorch_model\.bin"):
        compile_model(model, output=tmp_path / "made")
    assert not trace.exists()
    assert not (tmp_path / "made").exists()
    assert list(tmp_path.glob(".scratch*")) == []
