"""Prepared models: what ``compile`` makes, where it goes, how it is used, listed, evicted and cleared."""

import json
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
    OptimizedEmbeddingLoader,
)
from loader.__main__ import main
from loader.arguments import Settings
from loader.artifacts import workshop
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE, read_manifest
from loader.artifacts.parity import MINIMUM
from loader.parts import ModelParts
from loader.source import find as find_model
from tests.tiny_bert import TEXTS, make_tiny_bert

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.timeout(120)

REAL = ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/paraphrase-MiniLM-L3-v2")
REAL_TEXTS = ["database connection", "How do I open a connection pool?", "Der Fuchs springt.", "", "long text " * 200]
FLOAT_STRATEGIES = [strategy for strategy in LoadingStrategy if strategy is not LoadingStrategy.QUANTIZED]


def load(model, strategy="lazy", **options):
    return OptimizedEmbeddingLoader(str(model), strategy, **options).load(timeout=None)


def cosines(one, other):
    return np.sum(one * other, axis=1)


def assert_same_vectors(vectors, expected, precision="float32"):
    mean, least = MINIMUM[precision]
    assert vectors.shape == expected.shape
    assert np.mean(cosines(vectors, expected)) >= mean
    assert np.min(cosines(vectors, expected)) >= least


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def expected(tiny):
    return load(tiny).embed_batch(TEXTS)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """Artifacts of the tiny model in folders of their own, by precision."""
    folder = tmp_path_factory.mktemp("made")
    return {
        precision: Path(compile_model(str(tiny), precision, folder / precision)) for precision in ("float32", "int8")
    }


def copied(folder, target):
    """Copy an artifact; the modes stay what they are."""
    return Path(shutil.copytree(folder, target))


@pytest.mark.real_model
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("precision", ["float32", "int8"])
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
        (artifact,) = (own_cache / "artifacts").glob("*--int8--*[!d]")
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
    with pytest.raises(ArtifactError, match=r"weights of 8 bits.*strategy 'quantized'"):
        load(made["int8"], strategy, engine=engine)


def test_a_folder_that_was_not_made_for_an_engine_says_so(own_cache, made, tmp_path):
    """As where the package onnx is missing, or where only PyTorch's exporter knows the encoder."""
    for precision, engine, other in (("int8", "numpy", "onnx"), ("float32", "onnx", "numpy")):
        folder = copied(made[precision], tmp_path / precision)
        edit(folder, engines=[engine])
        strategy = "lazy" if precision == "float32" else "quantized"
        with pytest.raises(ArtifactError, match=f"{precision} for {engine}, not as {precision} for {other}"):
            load(folder, strategy, engine=other)
        assert load(folder, strategy).engine == engine
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
        with pytest.raises(CompileError, match="prepared model already"):
            compile_model(str(folder))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("./tiny", "int4"), ArgumentValueError, "precision 'int4' is not known; choose from float32, int8"),
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


def visible(cache):
    """The names in the store, but for the lock."""
    return sorted(name for name in os.listdir(cache / "artifacts") if name != ".lock")


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


class TestCommandLine:
    def test_compile_prints_the_folder(self, own_cache, python, tiny):
        done = python(None, "-m", "loader", "compile", str(tiny), "--precision", "int8", "--quiet")
        assert (done.code, done.err) == (0, "")
        assert read_manifest(done.out.removesuffix("\n")).precision == "int8"
        done = python(None, "-m", "loader", "compile", str(tiny), "--precision", "int8")
        assert (done.code, done.err) == (0, "100% prepared already\n")

    def test_compile_says_what_it_does(self, own_cache, python, tiny, tmp_path):
        done = python(None, "-m", "loader", "compile", str(tiny), "--output", "out")
        assert (done.code, done.out) == (0, f"{tmp_path / 'out'}\n")
        lines = done.err.splitlines()
        assert lines[0].startswith("  0% ")
        assert lines[-1] == "100% done"

    def test_a_module_of_the_current_folder_is_not_run(self, own_cache, python, tiny, tmp_path):
        for name in ("json", "queue", "onnx"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('run by mistake')")
        code = """
import sys
sys.path[:] = [path for path in sys.path if path]
from loader.artifacts.compile import compile_model
print(compile_model(sys.argv[1]))
"""
        done = python(code, str(tiny))
        assert (done.code, done.err) == (0, ""), done

    def test_errors(self, own_cache, capsys, made, tmp_path):
        for arguments, message in (
            ([str(made["int8"])], "prepared model already"),
            ([str(tmp_path / "nowhere")], "does not exist"),
        ):
            assert main(["compile", *arguments]) == 1
            captured = capsys.readouterr()
            assert captured.out == ""
            assert captured.err.startswith("error: ")
            assert message in captured.err
        with pytest.raises(SystemExit) as caught:
            main(["compile", "x", "--precision", "int4"])
        assert caught.value.code == 2

    def test_list_verify_and_clear(self, own_cache, capsys, tiny, tmp_path, monkeypatch):
        assert main(["cache", "list"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("0.0 MiB of 4096 MiB in ")
        assert main(["cache", "clear"]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        other = make_tiny_bert(tmp_path / "other", seed=1)
        folders = [compile_model(str(tiny), "int8"), compile_model(str(tiny)), compile_model(str(other), "int8")]
        capsys.readouterr()

        assert main(["cache", "list"]) == 0
        header, *rows, total = capsys.readouterr().out.splitlines()
        assert header.split() == ["MODEL", "PRECISION", "ENGINES", "MIB", "LAST", "USED", "FOLDER"]
        assert sorted(row.split()[-1] for row in rows) == sorted(folders)
        assert all(row.index("numpy, onnx") == header.index("ENGINES") for row in rows)
        assert f"in {own_cache / 'artifacts'}" in total

        assert main(["cache", "verify"]) == 0
        assert capsys.readouterr().out.count("fine     ") == 3

        flip_a_bit(Path(folders[0], "model.int8.safetensors"), same_times=True)
        assert main(["cache", "verify", str(other)]) == 0
        capsys.readouterr()
        assert main(["cache", "verify"]) == 1
        captured = capsys.readouterr()
        assert captured.out.count("fine     ") == 2
        assert "damaged  tiny--int8--" in captured.out
        assert captured.err.startswith("error: 1 of 3 prepared models are damaged.")

        Path(folders[1], FILE).write_text("{")
        assert main(["cache", "list"]) == 0
        assert f"{folders[1]} (damaged)" in capsys.readouterr().out

        monkeypatch.chdir(tmp_path)
        assert main(["cache", "clear", "./other"]) == 0
        assert capsys.readouterr().out == f"removed {folders[2]}\n"
        assert main(["cache", "clear", folders[1]]) == 0
        assert capsys.readouterr().out == f"removed {folders[1]}\n"
        assert main(["cache", "clear", "no/such-model"]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        assert main(["cache", "clear"]) == 0
        assert visible(own_cache) == []

    def test_a_model_is_cleared_by_each_of_its_names(self, own_cache, capsys, made):
        for name, asked in (("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"), ("a/b", "a/b")):
            folder = copied(made["int8"], own_cache / "artifacts" / "x--int8--0")
            edit(folder, model=name)
            assert main(["cache", "clear", asked]) == 0
            assert not folder.exists()

    def test_wrong_usage(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main(["cache", "polish"])
        assert caught.value.code == 2


def flip_a_bit(path, *, same_times=False):
    """Change one bit in the middle of a file, where nothing but its hash shows it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    if same_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class TestLimit:
    @pytest.fixture
    def three(self, own_cache, tmp_path, made):
        """Three artifacts of about 1 MiB; the second was used last, then the third, then the first."""
        folders = []
        for number, used in enumerate((100, 300, 200)):
            folder = copied(made["int8"], own_cache / "artifacts" / f"m{number}--int8--{number:012}")
            add_padding(folder, 2**20)
            edit(folder, source=[])
            Path(f"{folder}.used").touch()
            os.utime(f"{folder}.used", (used, used))
            folders.append(folder)
        return folders

    def left(self, folders):
        return [number for number, folder in enumerate(folders) if folder.exists()]

    @pytest.mark.parametrize(("limit", "left"), [("4096", [0, 1, 2]), ("3", [1, 2]), ("2", [1]), ("0", [])])
    def test_the_least_recently_used_go_first_and_the_newest_stays(
        self, own_cache, three, tiny, monkeypatch, limit, left
    ):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, limit)
        folder = compile_model(str(tiny), "int8")
        assert self.left(three) == left
        assert Path(folder).is_dir()
        assert len(visible(own_cache)) == 2 * (len(left) + 1), "a time stamp or a half-removed folder was left"

    def test_using_one_makes_it_the_most_recently_used(self, own_cache, tiny, three, monkeypatch, tmp_path):
        folder = Path(compile_model(str(tiny), "int8"))
        os.utime(f"{folder}.used", (1, 1))
        load(tiny, "quantized")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "1")
        assert workshop.evict() == [str(three[0]), str(three[2]), str(three[1])]
        assert folder.exists()

    def test_damaged_ones_count_and_go_first(self, own_cache, three, monkeypatch):
        (three[1] / FILE).write_text("damaged")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "3")
        assert workshop.evict() == [str(three[1])]

    def test_one_that_cannot_be_removed_is_no_obstacle(self, own_cache, three, monkeypatch, caplog):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "3")
        real = os.rename

        def rename(source, target):
            if source == str(three[0]):
                raise PermissionError(13, "Permission denied", source)
            real(source, target)

        monkeypatch.setattr(os, "rename", rename)
        assert workshop.evict() == [str(three[2])]
        assert "Permission denied" in caplog.text

    @pytest.mark.parametrize("engine", ["numpy", "onnx"])
    def test_who_has_an_evicted_one_open_goes_on(self, own_cache, tiny, expected, monkeypatch, engine, caplog):
        provider = load(tiny, "quantized", engine=engine)
        assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "0")
        assert len(workshop.evict()) == 1
        assert visible(own_cache) == []
        assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
        # So many that the engine onnx wants another session over the files that are gone.
        assert_same_vectors(provider.embed_batch(TEXTS * 8), np.tile(expected, (8, 1)), "int8")

    @pytest.mark.parametrize("value", ["many", "-1", "1.5", "1e3", "٣", "9" * 5000])
    def test_a_limit_that_is_no_number_is_refused_before_the_work(self, own_cache, tiny, monkeypatch, value, capsys):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, value)
        with pytest.raises(CacheError, match=r"EMBEDDING_LOADER_CACHE_LIMIT_MB=.* is not a number of MiB"):
            compile_model(str(tiny), progress=lambda step, done: pytest.fail(step))
        with pytest.raises(CacheError, match="not a number of MiB"):
            load(tiny, "quantized")
        assert load(tiny, "cached").engine == "numpy"
        assert main(["cache", "list"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "is not a number of MiB" in captured.err


def edit(folder, **changes):
    """Change fields of a manifest."""
    (folder / FILE).write_text(json.dumps(json.loads((folder / FILE).read_text()) | changes))


def add_padding(folder, size):
    """Make an artifact larger by a file that nobody reads."""
    from loader.filehash import sha256_of

    (folder / "padding").write_bytes(bytes(size))
    files = json.loads((folder / FILE).read_text())["files"]
    edit(folder, files=[*files, {"name": "padding", "bytes": size, "sha256": sha256_of(str(folder / "padding"))}])


class TestNames:
    @pytest.mark.parametrize(
        "name",
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


def test_only_the_store_that_is_locked_is_swept(own_cache, tmp_path, monkeypatch):
    """Also where the variable points elsewhere before a preparation in another thread has ended."""
    with workshop.Workshop() as shop:
        mine = Path(shop.folder())
        somebodys = tmp_path / "another" / "artifacts" / ".new-x"
        somebodys.mkdir(parents=True)
        monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(tmp_path / "another"))
    assert somebodys.exists()
    assert not mine.exists()


def test_what_a_killed_compile_left_beside_the_output_is_removed(tmp_path, tiny):
    import subprocess
    import sys

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = tmp_path / f"out.{gone.pid}.0123abcd.new"
    alive = tmp_path / f"out.{os.getpid()}.0123abcd.new"
    other = tmp_path / "out.notes.new"
    for folder in (dead, alive, other):
        folder.mkdir()
    compile_model(str(tiny), "int8", output=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", alive.name, other.name])
