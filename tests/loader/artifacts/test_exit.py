"""A program that ends while a model is being prepared for it leaves no process and nothing half-made."""

import os

import pytest

from tests.conftest import MINILM
from tests.support.prepared import assert_clean, assert_same_vectors, gone, load, mentioning, usable
from tests.support.tiers import representative
from tests.support.tiny_bert import TEXTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]
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
    @pytest.mark.parametrize(
        ("since", "seconds"),
        representative(
            {("child", "0.1"), ("time", "0.02")}, [("child", "0"), ("child", "0.1"), ("time", "0.02"), ("time", "0.3")]
        ),
    )
    def test_a_process_that_exits_leaves_no_child_behind(self, own_cache, python, tiny, expected, since, seconds):
        done = python(LEAVE, str(tiny), since, seconds)
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
