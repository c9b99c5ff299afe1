"""Full disks, limits, read-only disks and caches that are no folder."""

import os
import shutil
import subprocess
import sys
import threading

import pytest

from loader import CacheError
from loader.artifacts import store, workshop
from loader.artifacts.compile import compile_model
from tests.support.leftovers import left_by_a_killed_process
from tests.support.prepared import IS_ROOT, assert_clean, assert_same_vectors, assert_works, load, visible
from tests.support.tiers import representative
from tests.support.tiny_bert import TEXTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]


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
    # Preparing goes on when the provider is there already; it belongs to this test and its cache. Services of other
    # tests may live on.
    for thread in threading.enumerate():
        if thread.name.startswith("embedding-loader:") and thread.name != "embedding-loader:service":
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
        leftover = left_by_a_killed_process(small_disk / "artifacts")
        (leftover / "model.safetensors").write_bytes(bytes(2**20 - 2**16))
        assert_works(tiny, expected, "int8")
        assert_clean(small_disk)

    def test_an_output_on_a_full_disk(self, small_disk, tiny):
        with pytest.raises(CacheError, match="No space left"):
            compile_model(str(tiny), output=small_disk / "out")
        assert list(small_disk.glob("out*")) == []

    @pytest.mark.parametrize("limit", representative({1000}, [0, 1000, 10_000]))
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
        assert store.all_artifacts() == []
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
                workshop.remove_artifact(str(next((own_cache / "artifacts").glob("*--int8--*"))))
        finally:
            subprocess.run(["umount", "--lazy", str(own_cache)], check=True)
