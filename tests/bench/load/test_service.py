"""The load test: the service and its process."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.load import cli
from bench.load.records import read_memory, read_phases
from bench.measure.service_process import MemorySampler, find_service, private_runtime, stop_service
from bench.measure.variables import RUNTIME
from tests.bench.support.commands import call
from tests.conftest import ROOT

pytestmark = pytest.mark.process


class TestServer:
    @pytest.fixture
    def other(self, tmp_path):
        """A process that has the folder's name in its environment, but is nobody's service."""
        with private_runtime() as runtime:
            environ = {**os.environ, RUNTIME: str(runtime)}
            # By way of another process that ends: as a service, it is no child of ours.
            child = "[sys.executable, '-c', 'import time; time.sleep(600)'], stdout=-3, stderr=-3"
            code = f"import subprocess, sys; print(subprocess.Popen({child}).pid)"
            out = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
            process = psutil.Process(int(out.stdout))
            yield runtime, environ, process
            if process.is_running():
                process.kill()

    def test_is_found_watched_and_stopped(self, other, tmp_path, monkeypatch):
        runtime, environ, process = other
        monkeypatch.setattr("bench.measure.service_process.STOP_S", 3.0)
        monkeypatch.setattr("bench.measure.service_process.SAMPLE_EVERY_S", 0.02)
        assert find_service(runtime) == process
        path = tmp_path / "memory.jsonl"
        with MemorySampler(process, path):
            time.sleep(0.2)
        samples = read_memory(tmp_path)
        assert len(samples) > 1
        assert all(sample.rss_bytes > 0 for sample in samples)
        assert "had to be killed" in stop_service(runtime, environ), "it is no service, and heard no command"
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert find_service(runtime) is None
        assert stop_service(runtime, environ) == ""

    def test_sampling_ends_with_the_process(self, other, tmp_path):
        _, _, process = other
        process.kill()
        process.wait(10)
        with MemorySampler(process, tmp_path / "memory.jsonl"):
            pass
        assert read_memory(tmp_path) == []

    def test_the_folder_is_private_and_short(self):
        with private_runtime() as runtime:
            assert len(str(runtime)) < 60
            if os.name == "posix":
                assert runtime.stat().st_mode & 0o077 == 0
        assert not runtime.exists()


def _environment(process):
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


@pytest.mark.real_model
@pytest.mark.slow
class TestReal:
    def test_one_process(self, tmp_path, artifacts):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "serial,threads,batch", "--quiet", "--output", str(folder)]
        assert call(cli.main, words) == 0
        assert {phase.name for phase, _ in read_phases(folder)} == {"serial", "threads", "batch"}
        assert all(phase.facts["engine"] == "onnx" and not phase.bad for phase, _ in read_phases(folder))

    @pytest.mark.skipif(sys.platform == "win32", reason="the service is for systems with Unix sockets")
    def test_the_service(self, tmp_path, artifacts):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "closed,open", "--quiet", "--seconds", "5", "--requests", "1000"]
        assert call(cli.main, [*words, "--output", str(folder)]) == 0
        phases = [phase for phase, _ in read_phases(folder)]
        assert [phase.name for phase in phases] == ["closed", "open"]
        assert phases[0].counts["ok"] == 1000
        assert phases[0].facts == {"engine": "onnx", "device": "cpu", "precision": "float32"}
        assert phases[0].service_cpu_s > 0
        assert len(read_memory(folder)) > 1
        assert "Memory of the service" in (folder / "load.md").read_text()

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interruption_leaves_no_process(self, tmp_path, artifacts, number):
        folder = tmp_path / "run"
        words = ["--quick", "--phases", "closed", "--requests", "1000000", "--output", str(folder)]
        command = [sys.executable, "-m", "bench.load", *words]
        environ = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT, env=environ) as run:
            memory = folder / "memory.jsonl"
            while run.poll() is None and not (memory.exists() and memory.stat().st_size):
                time.sleep(0.1)
            ours = [
                process for process in psutil.process_iter() if str(tmp_path) in _environment(process).get("TMPDIR", "")
            ]
            assert len(ours) == 4, "the bench, two client processes, the service"
            run.send_signal(number)
            _, err = run.communicate(timeout=60)
        assert run.returncode == 130, err
        _, alive = psutil.wait_procs(ours, timeout=10)
        assert not alive
