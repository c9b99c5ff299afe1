"""What ``compile_model`` makes, where it goes, and how it is used."""

import itertools
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from loader import (
    ArgumentTypeError,
    ArgumentValueError,
    ArtifactError,
    CacheError,
    CompileError,
    LoadingStrategy,
    ModelNotFoundError,
    ModelUnsupportedError,
)
from loader.__main__ import main
from loader.arguments import Settings
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE, read_manifest
from loader.model.source import find as find_model
from loader.model_parts import ModelParts
from tests.support.engines import INSTANT
from tests.support.prepared import assert_same_vectors, copied, edit, load, visible
from tests.support.tiers import representative
from tests.support.tiny_bert import TEXTS, make_tiny_bert

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
REAL = ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/paraphrase-MiniLM-L3-v2")
REAL_TEXTS = ["database connection", "How do I open a connection pool?", "Der Fuchs springt.", "", "long text " * 200]
FLOAT_STRATEGIES = [strategy for strategy in LoadingStrategy if strategy is not LoadingStrategy.QUANTIZED]


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("name", "precision"),
    representative({(REAL[0], "int8"), (REAL[1], "float32")}, itertools.product(REAL, ("float32", "int8"))),
)
def test_a_compiled_real_model_gives_the_vectors_of_the_original(own_cache, name, precision):
    if find_model(name) is None:
        pytest.skip(f"{name} is not on this machine")
    reference = load(name, engine="numpy").embed_batch(REAL_TEXTS)
    folder = compile_model(name, precision)
    assert Path(folder).parent == own_cache / "artifacts"
    manifest = read_manifest(folder)
    assert (manifest.model, manifest.precision, manifest.engines) == (name, precision, ("numpy", "onnx"))
    strategy = "lazy" if precision == "float32" else "quantized"
    for engine in manifest.engines:
        provider = load(folder, strategy, engine=engine)
        assert (provider.engine, provider.precision, provider.dimension) == (engine, precision, 384)
        assert_same_vectors(provider.embed_batch(REAL_TEXTS * 4), np.tile(reference, (4, 1)), precision)
        assert_same_vectors(np.array([provider.embed_query(text) for text in REAL_TEXTS]), reference, precision)
    # By its name, the loader finds what was prepared.
    assert load(name, strategy, engine="onnx").precision == precision


@pytest.mark.parametrize("strategy", FLOAT_STRATEGIES)
@pytest.mark.parametrize("engine", ["auto", "onnx"])
def test_a_folder_of_full_precision_is_a_model_for_each_strategy(own_cache, made, expected, strategy, engine):
    provider = load(made["float32"], strategy, engine=engine)
    assert_same_vectors(provider.embed_batch(TEXTS), expected)


def test_a_folder_of_full_precision_can_be_quantized_once(own_cache, made, expected):
    for _ in range(2):
        assert_same_vectors(load(made["float32"], "quantized").embed_batch(TEXTS), expected, "int8")
        (artifact,) = (path for path in (own_cache / "artifacts").glob("*--int8--*") if path.is_dir())
        os.utime(artifact / FILE, (1, 1))
    assert (artifact / FILE).stat().st_mtime == 1, "it was prepared anew"


@pytest.mark.parametrize("engine", ["auto", "numpy", "onnx"])
def test_a_folder_of_8_bits_is_a_model_for_quantized(own_cache, made, expected, engine):
    provider = load(made["int8"], "quantized", engine=engine)
    assert provider.precision == "int8"
    assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
    assert not own_cache.joinpath("artifacts").exists(), "something was prepared"


@pytest.mark.parametrize("strategy", FLOAT_STRATEGIES)
@pytest.mark.parametrize("engine", ["auto", "numpy", "onnx"])
def test_a_folder_of_8_bits_says_that_it_cannot_give_full_precision(own_cache, made, strategy, engine):
    with pytest.raises(ArtifactError, match=r"8-bit weights.*strategy 'quantized'"):
        load(made["int8"], strategy, engine=engine)


def test_a_folder_that_was_not_made_for_an_engine_says_so(own_cache, made, tmp_path):
    """As where the package onnx is missing, or where only PyTorch's exporter knows the encoder."""
    for precision, engine, other in (("int8", "numpy", "onnx"), ("float32", "onnx", "numpy")):
        folder = copied(made[precision], tmp_path / precision)
        edit(folder, engines=[engine])
        strategy = "lazy" if precision == "float32" else "quantized"
        with pytest.raises(ArtifactError, match=f"{precision} for {engine}, not as {precision} for {other}"):
            load(folder, strategy, engine=other)
        assert load(folder, strategy).engine == (INSTANT if engine == "numpy" else engine)
        with pytest.raises(ArtifactError, match="not as"):
            ModelParts(Settings(str(folder))).artifact("numpy", "int8" if precision == "float32" else "float32")


def test_a_folder_works_where_the_original_is_gone(own_cache, python, tmp_path, expected):
    model = make_tiny_bert(tmp_path / "model")
    folder = compile_model(str(model), output=tmp_path / "out")
    shutil.rmtree(model)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    for engine in ("numpy", "onnx"):
        assert_same_vectors(load(moved, engine=engine).embed_batch(TEXTS), expected)


def test_nobody_else_can_read_or_write_a_folder(made):
    for path in [made["int8"], *made["int8"].rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_output_that_exists(own_cache, tiny, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("precious")
    file = tmp_path / "file"
    file.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    for output in (full, file, link):
        with pytest.raises(CacheError, match="exists and is not an empty folder"):
            compile_model(str(tiny), output=output)
    assert (full / "mine").read_text() == file.read_text() == "precious"
    with pytest.raises(CacheError, match="Cannot write"):
        compile_model(str(tiny), output=file / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link"]
    (tmp_path / "empty").mkdir()
    assert Path(compile_model(str(tiny), output=tmp_path / "empty")) == tmp_path / "empty"
    assert (tmp_path / "empty" / FILE).is_file()


def test_a_relative_output(own_cache, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compile_model(str(tiny), "int8", output="deep/er") == str(tmp_path / "deep" / "er")
    assert os.listdir("deep") == ["er"]


def test_compiling_an_artifact(own_cache, made):
    for folder in made.values():
        with pytest.raises(CompileError, match="already a prepared model"):
            compile_model(str(folder))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("./tiny", "int4"), ArgumentValueError, "Unknown precision 'int4'; choose from float32, int8"),
        (("./tiny", 8), ArgumentTypeError, "precision must be a string"),
        (("./tiny", None), ArgumentTypeError, "precision must be a string"),
        ((3,), ArgumentTypeError, "model_name must be a string or a path"),
        ((None,), ArgumentTypeError, "model_name must be a string or a path"),
        (("./tiny", "int8", 3), ArgumentTypeError, "output must be a string or a path"),
        (("./nowhere",), ModelNotFoundError, "does not exist"),
        ((Path("org/model"),), ModelNotFoundError, "does not exist"),
        (("",), ArgumentValueError, "not a model name"),
    ],
)
def test_arguments_that_cannot_be_meant(own_cache, arguments, error, message):
    with pytest.raises(error, match=message):
        compile_model(*arguments)
    assert not own_cache.exists()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_progress_goes_from_0_to_1(own_cache, tiny, precision):
    seen = []
    compile_model(str(tiny), precision, progress=lambda step, done: seen.append((step, done)))
    steps, numbers = zip(*seen, strict=True)
    assert (numbers[0], numbers[-1]) == (0.0, 1.0)
    assert list(numbers) == sorted(numbers)
    assert len(set(steps)) == len(steps) >= 5
    again = []
    compile_model(str(tiny), precision, progress=lambda step, done: again.append(done))
    assert again == [1.0]


def test_a_progress_function_that_raises_stops_it(own_cache, tiny):
    def fail(step, done):
        raise KeyError(step)

    with pytest.raises(KeyError):
        compile_model(str(tiny), progress=fail)
    assert visible(own_cache) == []
    assert compile_model(str(tiny))


def test_an_error_of_the_child_process_arrives_as_what_it_is(own_cache, tmp_path):
    model = make_tiny_bert(tmp_path / "model")
    with open(model / "model.safetensors", "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32("nan").tobytes())
        file.seek(4 - (model / "model.safetensors").stat().st_size // 2 // 4 * 4, os.SEEK_END)
        file.write(np.float32("nan").tobytes())
    with pytest.raises(ModelUnsupportedError, match=r"could not be prepared: .* not finite"):
        compile_model(str(model), "int8")
    assert visible(own_cache) == []


class TestNames:
    @pytest.mark.parametrize(
        "name",
        representative(
            {"模型-ü", "%s{}$HOME;rm", "x" * 200, ".new-x"},
            [
                "with spaces and 'quotes'",
                "模型-ü",
                "-dashes--int8--x",
                "...",
                "%s{}$HOME;rm",
                "x" * 200,
                "a.used",
                ".new-x",
            ],
        ),
    )
    def test_strange_names(self, own_cache, tmp_path, name, expected):
        folder = Path(compile_model(str(make_tiny_bert(tmp_path / "models" / name)), "int8"))
        assert folder.parent == own_cache / "artifacts"
        assert len(folder.name) < 120
        assert folder.name.isascii()
        provider = load(tmp_path / "models" / name, "quantized")
        assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
        assert len(visible(own_cache)) == 2, "it was not found again, or prepared twice"

    def test_a_relative_path_means_the_same_from_everywhere(self, own_cache, tmp_path, monkeypatch, capsys):
        make_tiny_bert(tmp_path / "a" / "model")
        monkeypatch.chdir(tmp_path / "a")
        folder = compile_model("./model", "int8")
        assert read_manifest(folder).model == str(tmp_path / "a" / "model")
        assert compile_model("model", "int8") == compile_model(Path("model"), "int8") == folder
        monkeypatch.chdir(tmp_path)
        assert compile_model("a/model", "int8") == compile_model(str(tmp_path / "a" / "model"), "int8") == folder
        assert main(["cache", "clear", "a/model"]) == 0
        assert visible(own_cache) == []

    def test_two_models_of_one_name_do_not_collide(self, own_cache, tmp_path, expected):
        one, two = make_tiny_bert(tmp_path / "a" / "model"), make_tiny_bert(tmp_path / "b" / "model", seed=1)
        assert compile_model(str(one), "int8") != compile_model(str(two), "int8")
        assert_same_vectors(load(one, "quantized").embed_batch(TEXTS), expected, "int8")
        assert_same_vectors(load(two, "quantized").embed_batch(TEXTS), load(two).embed_batch(TEXTS), "int8")
        assert len(visible(own_cache)) == 4

    def test_a_copy_of_a_model_uses_what_is_there(self, own_cache, tmp_path, tiny):
        folder = compile_model(str(tiny), "int8")
        assert compile_model(str(shutil.copytree(tiny, tmp_path / "copy")), "int8") == folder
