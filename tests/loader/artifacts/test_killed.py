"""Preparing a model while processes are killed, stopped, or do the same: the next run is clean."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from loader.artifacts.manifest import FILE
from tests.support.prepared import assert_clean, assert_same_vectors, assert_works, gone, load, usable, visible
from tests.support.tiers import representative
from tests.support.tiny_bert import TEXTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]


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
    @pytest.mark.parametrize("lines", representative({0, 4, 8}, range(9)))
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

    @pytest.mark.parametrize("lines", representative({4}, [1, 4, 6]))
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

    @pytest.mark.parametrize("lines", representative({4}, [1, 4, 6]))
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
    assert last == ["100% already prepared"] * 7 + ["100% done"]
    assert len(visible(own_cache)) == 2
    assert_clean(own_cache)
    assert_works(tiny, expected, "int8")
