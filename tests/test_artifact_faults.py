"""Prepared models against killed processes, damaged and foreign files, other versions, and full disks.

Each fault ends in a right vector or a typed error, and the next run is clean.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from loader import ArtifactError, CacheError, ModelError
from loader.artifacts import store, workshop
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE, MAX_BYTES, read_manifest
from tests.conftest import MINILM
from tests.test_artifacts import assert_same_vectors, copied, edit, flip_a_bit, load, visible
from tests.tiny_bert import TEXTS, make_tiny_bert

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals")]

ENGINE = {"float32": "onnx", "int8": "numpy"}
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def expected(tiny):
    return load(tiny, engine="numpy").embed_batch(TEXTS)


@pytest.fixture(scope="module")
def pristine(tiny, tmp_path_factory):
    """A store that holds the tiny model in both precisions; by precision the folder's name."""
    cache = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDDING_LOADER_CACHE", str(cache))
        names = {precision: Path(compile_model(str(tiny), precision)).name for precision in ("float32", "int8")}
    return cache / "artifacts", names


@pytest.fixture
def stored(own_cache, pristine):
    """Put a copy of a pristine artifact into this test's store: ``stored(precision)`` returns the folder."""

    def put(precision):
        source, names = pristine
        target = own_cache / "artifacts" / names[precision]
        shutil.rmtree(target, ignore_errors=True)
        return copied(source / names[precision], target)

    return put


def assert_clean(cache):
    """Nothing that was being made is left, and what is there is whole."""
    assert [name for name in os.listdir(cache / "artifacts") if name.startswith(".new")] == []
    for folder, found in store.everything():
        assert not isinstance(found, ArtifactError), folder


def usable(tiny, precision="float32"):
    return store.find(str(tiny), ENGINE[precision], precision)


def assert_works(tiny, expected, precision):
    """Preparing and using the model works, in this process and with what the fault left."""
    folder = compile_model(str(tiny), precision)
    provider = load(tiny, "quantized" if precision == "int8" else "cached", engine=ENGINE[precision])
    assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
    assert read_manifest(folder).precision == precision


def mentioning(text):
    """The processes with this text in their command lines."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(text, seconds=60):
    """Whether no such process is left; they have some time to end."""
    deadline = time.monotonic() + seconds
    while mentioning(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestKilled:
    def compile_until(self, tiny, lines):
        """Start a compile in a session of its own; return it after so many lines of progress."""
        command = [sys.executable, "-m", "loader", "compile", str(tiny)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        seen = [process.stderr.readline() for _ in range(lines)]
        assert all(seen), seen
        return process

    def end(self, process):
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    # There are nine steps; before the first line the child process is only being started.
    @pytest.mark.parametrize("lines", range(9))
    def test_kill_9_of_everything_at_each_step(self, own_cache, tiny, expected, lines):
        process = self.compile_until(tiny, lines)
        if not lines:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        assert self.end(process)[0] == -signal.SIGKILL
        assert gone(str(own_cache))
        assert usable(tiny) is None
        assert_works(tiny, expected, "float32")
        assert_clean(own_cache)

    def test_kill_9_after_the_end(self, own_cache, tiny, expected):
        process = self.compile_until(tiny, 9)
        os.killpg(process.pid, signal.SIGKILL)
        self.end(process)
        assert_works(tiny, expected, "float32")
        assert_clean(own_cache)

    @pytest.mark.parametrize("lines", [1, 4, 6])
    def test_kill_9_of_the_parent_alone(self, own_cache, tiny, expected, lines):
        process = self.compile_until(tiny, lines)
        process.kill()
        # At once, while the child may still be writing.
        assert_works(tiny, expected, "float32")
        assert_clean(own_cache)
        assert gone(f"{own_cache}{os.sep}"), "the child outlived its parent"
        assert_clean(own_cache)
        self.end(process)

    def test_the_child_ends_when_nobody_holds_its_input_any_more(self, own_cache, python, tiny, tmp_path):
        """At once, not only when it next has something to say, which may be minutes later."""
        (tmp_path / "target").mkdir()
        done = python(None, "-m", "loader.artifacts.build", str(tiny), "tiny", "int8", str(tmp_path / "target"))
        assert (done.code, "made" in done.out) == (1, False), done
        assert not (tmp_path / "target" / FILE).exists()

    @pytest.mark.parametrize("lines", [1, 4, 6])
    def test_kill_9_of_the_child_alone(self, own_cache, tiny, expected, lines):
        process = self.compile_until(tiny, lines)
        for child in psutil.Process(process.pid).children():
            child.kill()
        code, out, err = self.end(process)
        assert (code, out) == (1, "")
        assert "ended with exit code -9" in err
        assert "Traceback" not in err
        assert visible(own_cache) == []
        assert_works(tiny, expected, "float32")

    def test_a_stopped_compile_does_not_hold_up_those_that_need_none(self, own_cache, tiny, expected):
        process = self.compile_until(tiny, 4)
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            for strategy in ("lazy", "progressive", "cached"):
                assert_same_vectors(load(tiny, strategy).embed_batch(TEXTS), expected)
        finally:
            os.killpg(process.pid, signal.SIGCONT)
        assert self.end(process)[0] == 0
        assert_clean(own_cache)


def test_eight_processes_at_once_make_one(own_cache, tiny, expected):
    command = [sys.executable, "-m", "loader", "compile", str(tiny), "--precision", "int8"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]
    ended = [(*process.communicate(timeout=100), process.returncode) for process in processes]
    assert [code for _, _, code in ended] == [0] * 8, ended
    assert len({out for out, _, _ in ended}) == 1
    last = sorted(err.splitlines()[-1] for _, err, _ in ended)
    assert last == ["100% done"] + ["100% prepared already"] * 7
    assert len(visible(own_cache)) == 2
    assert_clean(own_cache)
    assert_works(tiny, expected, "int8")


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def link(path):
    """Put a link in its place, to a file that is right."""
    target = path.parent.parent / f"elsewhere-{path.name}"
    path.replace(target)
    path.symlink_to(target)


def link_the_folder(path):
    """Put a link in the place of the folder that the file is in."""
    target = path.parent.with_name("elsewhere")
    path.parent.replace(target)
    path.parent.symlink_to(target)


def make_a_folder(path):
    path.unlink()
    path.mkdir()


def make_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def for_everybody(path):
    path.chmod(0o606)


def for_the_group(path):
    path.chmod(0o660)


DAMAGES = [
    truncate,
    empty,
    flip_a_bit,
    link,
    make_a_folder,
    make_a_pipe,
    for_everybody,
    for_the_group,
    Path.unlink,
]
by_name = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
both = pytest.mark.parametrize("precision", ["float32", "int8"])


def names_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def damaged(folder, name, damage):
    """Damage one file and return whether anything could notice; a flipped bit of a manifest may do no harm."""
    damage(folder / name)
    return not (damage is flip_a_bit and name.name == FILE)


class TestDamaged:
    @both
    @by_name
    def test_a_damaged_folder_is_a_typed_error(self, own_cache, pristine, tmp_path, expected, precision, damage):
        source, names = pristine
        strategy = "quantized" if precision == "int8" else "lazy"
        for number, name in enumerate(names_in(source / names[precision])):
            folder = copied(source / names[precision], tmp_path / "copies" / str(number))
            noticed = damaged(folder, name, damage)
            if name.name == FILE and damage is Path.unlink:
                # What is left is not an artifact any more: a plain model folder, or none.
                if precision == "float32":
                    assert_same_vectors(load(folder).embed_batch(TEXTS), expected)
                else:
                    with pytest.raises(ModelError):
                        load(folder, strategy)
                continue
            for engine in ("auto", "numpy", "onnx"):
                try:
                    vectors = load(folder, strategy, engine=engine).embed_batch(TEXTS)
                except ArtifactError as error:
                    assert str(folder) in str(error)
                else:
                    assert not noticed, f"{name} was used"
                    assert_same_vectors(vectors, expected, precision)

    @both
    @by_name
    def test_a_damaged_one_of_the_store_is_passed_over_and_made_anew(
        self, own_cache, stored, tiny, expected, precision, damage
    ):
        for name in names_in(stored(precision)):
            folder = stored(precision)
            noticed = damaged(folder, name, damage)
            assert usable(tiny, precision) is None or not noticed, f"{name} was used"
            if precision == "float32":
                provider = load(tiny, "cached")
                assert_same_vectors(provider.embed_batch(TEXTS), expected)
                if noticed:
                    with pytest.raises(ArtifactError, match="was never prepared"):
                        load(tiny, "cached", engine="onnx")
        # The last of them is the weights', of both precisions the largest file; the next run is clean.
        weights = stored(precision) / ("model.int8.safetensors" if precision == "int8" else "model.safetensors")
        damage(weights)
        strategy = "quantized" if precision == "int8" else "cached"
        for what in ("now", None):
            provider = load(tiny, strategy, engine=ENGINE[precision], compile=what)
            assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
        assert_clean(own_cache)

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    def test_a_damaged_manifest_of_the_store_is_made_anew(self, own_cache, stored, tiny, expected, damage):
        damage(stored("int8") / FILE)
        for _ in range(2):
            assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")
        assert_clean(own_cache)

    @both
    def test_links_and_modes_of_folders(self, own_cache, stored, tiny, precision):
        for damage in (
            lambda folder: link_the_folder(folder / "1_Pooling" / "config.json"),
            lambda folder: link_the_folder(folder / FILE),
            lambda folder: (folder / "1_Pooling").chmod(0o707),
            lambda folder: (folder / "1_Pooling").chmod(0o770),
            lambda folder: folder.chmod(0o707),
            lambda folder: folder.chmod(0o770),
        ):
            for path in (own_cache / "artifacts").glob("*"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            folder = stored(precision)
            damage(folder)
            assert usable(tiny, precision) is None
            with pytest.raises(ArtifactError):
                load(folder, "quantized" if precision == "int8" else "lazy")

    def test_a_link_at_any_depth(self, own_cache, pristine, tmp_path):
        """Each folder between the artifact and a file counts, not only the last."""
        source, names = pristine
        folder = copied(source / names["float32"], tmp_path / "copy")
        (folder / "a" / "b").mkdir(parents=True, mode=0o700)
        (folder / "a").chmod(0o700)
        (folder / "a" / "b" / "c").write_bytes(b"")
        (folder / "a" / "b" / "c").chmod(0o600)
        nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        files = json.loads((folder / FILE).read_text())["files"]
        edit(folder, files=[*files, {"name": "a/b/c", "bytes": 0, "sha256": nothing}])
        load(folder)
        link_the_folder(folder / "a" / "b")
        with pytest.raises(ArtifactError, match="is a link"):
            load(folder)

    @pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
    @both
    def test_files_of_another_user(self, own_cache, stored, tiny, expected, precision):
        for name in (".", FILE, "model.onnx", "1_Pooling"):
            folder = stored(precision)
            os.chown(folder / name, 12345, 12345)
            assert usable(tiny, precision) is None
            with pytest.raises(ArtifactError, match="belongs to another user"):
                load(folder, "quantized" if precision == "int8" else "lazy")
        assert_works(tiny, expected, precision)
        assert_clean(own_cache)


ENTRY = {"name": "config.json", "bytes": 2, "sha256": "0" * 64}
MANIFESTS = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"format": "\xff\xfe"}',
    "a list": b"[]",
    "a number": b"2",
    "null": b"null",
    "deep nesting": b"[" * 100_000,
    "huge": b'{"format": 2, "model": "' + b"x" * MAX_BYTES + b'"}',
    "an empty object": b"{}",
    "only a format": b'{"format": 2}',
    "an older format": {"format": 1},
    "a newer format": {"format": 3},
    "a format of the wrong type": {"format": [2]},
    "a field that is not known": {"surprise": 1},
    "a model that is a number": {"model": 3},
    "a model that cannot be printed": {"model": "\x1b[2J"},
    "a model that is no Unicode": {"model": "\ud800"},
    "a precision that is null": {"precision": None},
    "a precision that is not known": {"precision": "int4"},
    "engines that are a text": {"engines": "numpy"},
    "engines that are numbers": {"engines": [1]},
    "engines that are null": {"engines": None},
    "no engines": {"engines": []},
    "versions that are a list": {"versions": []},
    "a version that is a number": {"versions": {"onnxruntime": 1.2}},
    "parity that is a number": {"parity": 1},
    "probes that are a list": {"probes": []},
    "seconds that are a text": {"seconds": "fast"},
    "files that are null": {"files": None},
    "files that are a number": {"files": 1},
    "no files": {"files": []},
    "a file that is a number": {"files": [1]},
    "a file without a name": {"files": [{"bytes": 2, "sha256": "0" * 64}]},
    "a source that is a text": {"source": "model.safetensors"},
    **{
        f"the file {name!a}": {"files": [ENTRY | {"name": name}]}
        for name in (
            *("../../x", "..", ".", "", "/etc/passwd", "a/../../x", "a//b", "a/", "\\x", "..\\x", "C:x", "C:/x"),
            *("a\0b", "\ud800", "x" * 5000, 3, None, ["config.json"]),
        )
    },
    **{
        f"the size {size!a}": {"files": [ENTRY | {"bytes": size}]}
        for size in (-1, 2.0, "2", True, None, 10**30, float("nan"))
    },
    **{
        f"the hash {digest!a}": {"files": [ENTRY | {"sha256": digest}]}
        for digest in ("", "0" * 63, 0, None, ["0"] * 64)
    },
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_manifests_that_lie(own_cache, stored, tiny, content):
    folder = stored("int8")
    if isinstance(content, bytes):
        (folder / FILE).write_bytes(content)
    else:
        edit(folder, **content)
    assert usable(tiny, "int8") is None
    store.everything()
    with pytest.raises(ArtifactError, match=r"Delete the folder|original model's name"):
        load(folder, "quantized")


class TestOfSomethingElse:
    def test_an_artifact_of_another_model_under_this_ones_name(self, own_cache, stored, tiny, expected, tmp_path):
        other = make_tiny_bert(tmp_path / "other" / "tiny", seed=1)
        foreign = compile_model(str(other), "int8")
        ours = stored("int8")
        shutil.rmtree(ours)
        os.rename(foreign, ours)
        for _ in range(2):
            assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")

    @pytest.mark.parametrize("what", ["weights", "tokenizer"])
    def test_an_artifact_of_an_older_state_of_the_model(self, own_cache, tmp_path, what):
        """Of the same size, under the same name, with the same times: still another model."""
        model = make_tiny_bert(tmp_path / "model")
        before = load(model).embed_batch(TEXTS)
        for precision in ("float32", "int8"):
            compile_model(str(model), precision)
        changed = model / ("model.safetensors" if what == "weights" else "tokenizer.json")
        old = changed.stat()
        if what == "weights":
            newer = make_tiny_bert(tmp_path / "newer", seed=1)
            shutil.copyfile(newer / "model.safetensors", changed)
        else:
            text = changed.read_text()
            swapped = text.replace('"database"', '"@@@"').replace('"fox"', '"database"')
            swapped = swapped.replace('"@@@"', '"fox"')
            changed.write_text(swapped)
        os.utime(changed, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert changed.stat().st_size == old.st_size
        after = load(model).embed_batch(TEXTS)
        assert np.min(np.sum(after * before, axis=1)) < 0.93, "nothing was changed"
        with pytest.raises(ArtifactError, match="was never prepared"):
            load(model, "cached", engine="onnx")
        assert_same_vectors(load(model, "quantized").embed_batch(TEXTS), after, "int8")
        provider = load(model, "cached", engine="onnx", compile="now")
        assert_same_vectors(provider.embed_batch(TEXTS), after)


class TestAnotherVersionOfOnnxRuntime:
    def proofs(self, cache):
        return sorted((cache / "proofs").glob("*"))

    @pytest.fixture
    def folder(self, own_cache, pristine, tmp_path):
        source, names = pristine
        folder = copied(source / names["float32"], tmp_path / "copy")
        assert json.loads((folder / FILE).read_text())["versions"]["onnxruntime"] == onnxruntime.__version__
        return folder

    def another_version(self, folder, **probes):
        fields = json.loads((folder / FILE).read_text())
        edit(folder, versions=fields["versions"] | {"onnxruntime": "1.0.0"}, probes=fields["probes"] | probes)

    def test_the_same_version_proves_nothing(self, own_cache, folder, expected):
        edit(folder, probes={})
        assert_same_vectors(load(folder, engine="onnx").embed_batch(TEXTS), expected)
        assert self.proofs(own_cache) == []

    @both
    def test_it_is_used_once_its_vectors_are_right(self, own_cache, pristine, tmp_path, expected, precision):
        source, names = pristine
        folder = copied(source / names[precision], tmp_path / "copy")
        self.another_version(folder)
        for _ in range(2):
            provider = load(folder, "quantized" if precision == "int8" else "lazy", engine="onnx")
            assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
            assert len(self.proofs(own_cache)) == 1

    def test_it_is_proved_once(self, own_cache, folder, monkeypatch):
        self.another_version(folder)
        load(folder, engine="onnx")
        from loader.engines.onnx import OnnxEngine

        monkeypatch.setattr(OnnxEngine, "encode", lambda *_: pytest.fail("the probes were embedded again"))
        load(folder, engine="onnx")

    def test_no_manifest_proves_another(self, own_cache, folder):
        self.another_version(folder)
        load(folder, engine="onnx")
        self.another_version(folder, vectors=base64.b64encode(bytes(17 * 32 * 4)).decode())
        with pytest.raises(ArtifactError):
            load(folder, engine="onnx")

    def test_it_is_refused_where_its_vectors_differ(self, own_cache, folder, expected):
        probes = json.loads((folder / FILE).read_text())["probes"]
        vectors = np.frombuffer(base64.b64decode(probes["vectors"]), "<f4").reshape(len(probes["texts"]), -1).copy()
        vectors[3] = -vectors[3]
        self.another_version(folder, vectors=base64.b64encode(vectors.tobytes()).decode())
        for _ in range(2):
            with pytest.raises(ArtifactError, match=rf"1\.0\.0, and cannot be used with {onnxruntime.__version__}"):
                load(folder, engine="onnx")
        assert self.proofs(own_cache) == []
        assert load(folder).engine == "numpy"  # which does not care
        assert_same_vectors(load(folder).embed_batch(TEXTS), expected)

    @pytest.mark.parametrize(
        "probes",
        [
            {"vectors": ""},
            {"vectors": "AAAA"},
            {"vectors": "%%%"},
            {"vectors": 3},
            {"vectors": None},
            {"vectors": base64.b64encode(b"\xff" * 17 * 32 * 4).decode()},
            {"texts": []},
            {"texts": None},
            {"texts": 3},
            {"texts": [1] * 17},
            {"texts": ["a"]},
        ],
    )
    def test_probes_that_make_no_sense(self, own_cache, folder, probes):
        self.another_version(folder, **probes)
        with pytest.raises(ArtifactError, match="cannot be used with"):
            load(folder, engine="onnx")

    def test_a_cache_that_cannot_be_written_means_proving_it_each_time(self, own_cache, folder, expected):
        own_cache.write_text("a file where the folder should be")
        self.another_version(folder)
        for _ in range(2):
            assert_same_vectors(load(folder, engine="onnx").embed_batch(TEXTS), expected)


def mount(*arguments):
    """Mount something, or skip the test where that is not possible."""
    if not IS_ROOT or sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not possible: {done.stderr.strip()}")


def assert_loads_without_writing(tiny, expected):
    for strategy in ("lazy", "background", "progressive", "cached"):
        for what in (None, "now"):
            assert_same_vectors(load(tiny, strategy, compile=what).embed_batch(TEXTS), expected)
    # Preparing goes on when the provider is there already; it belongs to this test and its cache.
    for thread in threading.enumerate():
        if thread.name.startswith("embedding-loader:"):
            thread.join(60)


class TestFailingWrites:
    @pytest.fixture
    def small_disk(self, own_cache):
        own_cache.mkdir()
        mount("-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", own_cache)
        yield own_cache
        subprocess.run(["umount", "--lazy", str(own_cache)], check=True)

    def test_a_full_disk(self, small_disk, tiny, expected):
        for _ in range(2):
            with pytest.raises(CacheError, match="No space left"):
                load(tiny, "quantized")
            with pytest.raises(CacheError, match="No space left"):
                compile_model(str(tiny))
        assert visible(small_disk) == []
        assert_loads_without_writing(tiny, expected)
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        assert_works(tiny, expected, "int8")
        assert_clean(small_disk)

    def test_a_disk_that_is_full_to_the_last_byte(self, small_disk, tiny, expected):
        with open(small_disk / "filler", "wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                if not os.statvfs(small_disk).f_bfree:
                    break
        with pytest.raises(CacheError):
            load(tiny, "quantized")
        assert_loads_without_writing(tiny, expected)

    def test_what_a_killed_compile_left_takes_no_room_from_the_next(self, small_disk, tiny, expected):
        subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
        leftover = small_disk / "artifacts" / ".new-dead"
        leftover.mkdir(parents=True)
        (leftover / "model.safetensors").write_bytes(bytes(2**20 - 2**16))
        assert_works(tiny, expected, "int8")
        assert_clean(small_disk)

    def test_an_output_on_a_full_disk(self, small_disk, tiny):
        with pytest.raises(CacheError, match="No space left"):
            compile_model(str(tiny), output=small_disk / "out")
        assert list(small_disk.glob("out*")) == []

    @pytest.mark.parametrize("limit", [0, 1000, 10_000])
    def test_files_that_may_not_grow(self, python, own_cache, tiny, limit):
        code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
from loader import CacheError, OptimizedEmbeddingLoader
for strategy in ("lazy", "cached", "progressive"):
    OptimizedEmbeddingLoader(sys.argv[1], strategy, compile="now").load().embed_query("text")
try:
    OptimizedEmbeddingLoader(sys.argv[1], "quantized").load()
except CacheError as error:
    print(error)
"""
        # No bytecode: Python itself keeps half a file of it where it cannot write a whole one.
        done = python(code, str(tiny), str(limit), env={"PYTHONDONTWRITEBYTECODE": "1"})
        assert "File too large" in done.out, done
        assert (done.code, "Traceback" in done.err) == (0, False), done
        assert visible(own_cache) == []
        assert load(tiny, "quantized").precision == "int8"
        assert_clean(own_cache)

    @pytest.mark.parametrize("below", [False, True])
    def test_a_cache_that_is_a_file(self, tmp_path, monkeypatch, tiny, expected, below):
        file = tmp_path / "file"
        file.write_text("a file where the folder should be")
        monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(file / "below" if below else file))
        with pytest.raises(CacheError, match="EMBEDDING_LOADER_CACHE"):
            load(tiny, "quantized")
        with pytest.raises(CacheError, match="EMBEDDING_LOADER_CACHE"):
            compile_model(str(tiny))
        assert_loads_without_writing(tiny, expected)
        assert store.everything() == []
        assert file.read_text() == "a file where the folder should be"

    def test_a_read_only_disk(self, own_cache, tiny, expected):
        own_cache.mkdir()
        mount("--bind", own_cache, own_cache)
        try:
            mount("-o", "remount,ro,bind", own_cache)
            with pytest.raises(CacheError, match="Read-only"):
                load(tiny, "quantized")
            assert_loads_without_writing(tiny, expected)
        finally:
            subprocess.run(["umount", "--lazy", str(own_cache)], check=True)

    def test_what_is_on_a_read_only_disk_is_used(self, own_cache, stored, tiny, expected):
        for precision in ("float32", "int8"):
            stored(precision)
        mount("--bind", own_cache, own_cache)
        try:
            mount("-o", "remount,ro,bind", own_cache)
            assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")
            assert_same_vectors(load(tiny, "cached", engine="onnx").embed_batch(TEXTS), expected)
            with pytest.raises(CacheError, match="Read-only"):
                workshop.remove(str(next((own_cache / "artifacts").glob("*--int8--*"))))
        finally:
            subprocess.run(["umount", "--lazy", str(own_cache)], check=True)


LEAVE = """
import sys, time
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], "quantized")
loader.start_loading()
if sys.argv[2] == "child":
    import psutil
    # Until it is Python that runs in the child; before that, this process is still busy starting it.
    while not any("loader.artifacts.build" in child.cmdline() for child in psutil.Process().children()):
        assert loader.is_loading(), "it was over already"
        time.sleep(0.001)
    time.sleep(float(sys.argv[3]))
    assert loader.is_loading(), "it was over already"
    for child in psutil.Process().children() if "hanging" in sys.argv else ():
        child.suspend()
else:
    time.sleep(float(sys.argv[3]))
"""


class TestExit:
    @pytest.mark.parametrize("moment", [("child", "0"), ("child", "0.1"), ("time", "0.02"), ("time", "0.3")])
    def test_a_process_that_exits_leaves_no_child_behind(self, own_cache, python, tiny, expected, moment):
        done = python(LEAVE, str(tiny), *moment)
        assert (done.code, done.out, done.err) == (0, "", "")
        assert mentioning(f"{own_cache}{os.sep}") == []
        assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")
        assert_clean(own_cache)

    def test_a_child_that_hangs_is_ended_as_well(self, own_cache, python, tiny):
        done = python(LEAVE, str(tiny), "child", "0", "hanging")
        try:
            assert (done.code, done.out, done.err) == (0, "", "")
            assert mentioning(f"{own_cache}{os.sep}") == []
        finally:
            for process in mentioning(f"{own_cache}{os.sep}"):
                process.kill()

    @pytest.mark.real_model
    def test_the_real_model(self, own_cache, python, minilm_folder):
        done = python(LEAVE, MINILM, "time", "0.3")
        assert (done.code, done.out, done.err) == (0, "", "")
        assert mentioning(f"{own_cache}{os.sep}") == []
        done = python(None, "-m", "loader", "embed", "text", "--strategy", "quantized")
        assert (done.code, done.err) == (0, "")
        assert_clean(own_cache)

    def test_a_detached_compile_outlives_the_process_and_says_nothing(self, own_cache, python, tiny, expected):
        code = """
import sys
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader(sys.argv[1], "cached", compile="detached")
loader.load()
import psutil, time
while not psutil.Process().children():
    time.sleep(0.001)
"""
        done = python(None, "-W", "error", "-c", code, str(tiny))
        assert (done.code, done.out, done.err) == (0, "", "")
        assert gone(f"compile --quiet -- {tiny}")
        assert usable(tiny) is not None
        assert_same_vectors(load(tiny, "cached", engine="onnx").embed_batch(TEXTS), expected)
        assert_clean(own_cache)
