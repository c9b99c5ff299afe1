"""A sweep on many machines: the launchers, and the real backends."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from bench.data.manifest import read_manifest
from bench.data.records import read_records
from bench.fleet.jobs import make_jobs
from tests.bench.fleet.sweeps import real_conf
from tests.conftest import ROOT
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process

SMALL = (
    "strategy=lazy",
    "engine=numpy",
    "baseline=false",
    "protocol=quick",
    "protocol.rounds=1",
    "protocol.warmup_rounds=0",
    "protocol.max_reruns=0",
    "protocol.passes=[]",
    "run_name=run",
)


WAIT_S = 60


def wait_until(condition):
    """Wait for what must come; the limit only keeps a broken test from hanging."""
    limit = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found


@pytest.fixture
def no_other_cluster(tmp_path_factory):
    """Tests that run beside must have no cluster meanwhile: Ray looks for one among the processes of the machine."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield


class TestLaunchers:
    def test_ours_win_over_an_installed_plugin(self, python, tmp_path):
        plugin = tmp_path / "site" / "hydra_plugins" / "hydra_ray_launcher"
        plugin.mkdir(parents=True)
        (plugin / "__init__.py").write_text(
            "from hydra.core.config_store import ConfigStore\n"
            "store = ConfigStore.instance().store\n"
            "store(group='hydra/launcher', name='ray', node={'_target_': 'theirs'}, provider='x')\n"
        )
        environ = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])}
        done = python(None, "-m", "bench", "hydra/launcher=ray", "--cfg", "hydra", "-p", "hydra.launcher", env=environ)
        assert "_target_: hydra_plugins.fleet_launcher.RayLauncher" in done.out, done.err

    @pytest.mark.parametrize("name", ["ray", "submitit"])
    def test_a_missing_package_names_the_extra(self, python, name):
        code = f"""
import runpy, sys
sys.modules["{name}"] = None
sys.argv = ["bench", "-m", "hydra/launcher={name}", "model=minilm,mpnet"]
runpy.run_module("bench", run_name="__main__")
"""
        done = python(code, env={"PYTHONPATH": str(ROOT)})
        assert done.code == 2
        assert f"error: hydra/launcher={name} needs {name}, which is not installed" in done.err
        assert "optimized-embedding-loader[fleet]" in done.err
        assert "Traceback" not in done.err

    @pytest.mark.parametrize("word", ["hydra.launcher.adress=x", "hydra.launcher.parameters.timeout_min=soon"])
    def test_a_wrong_option_is_said(self, python, word):
        pytest.importorskip("submitit", exc_type=ImportError)
        words = ("hydra/launcher=submitit", "hydra.launcher.cluster=local", word)
        done = python(None, "-m", "bench", "-m", *words, *SMALL, env={"PYTHONPATH": str(ROOT)})
        assert done.code in {1, 2}
        assert word.partition("=")[0].rpartition(".")[2] in done.err
        assert "Traceback" not in done.err


def two_models(tmp_path, tiny_folder):
    """Return a folder with two models, and the words that sweep them."""
    for number, name in enumerate(("one", "two")):
        shutil.copytree(tiny_folder(Tiny(seed=number)), tmp_path / "models" / name)
    return ["model.key=one,two", f"model.name={tmp_path}/models/${{model.key}}"]


def check_both_are_measured(tmp_path):
    folder = tmp_path / "reports" / "run"
    records = read_records(folder / "records.jsonl")
    assert sorted((record.cell.model_key, record.status) for record in records) == [("one", "ok"), ("two", "ok")]
    assert len({record.run for record in records}) == 2
    manifest = read_manifest(folder / "manifest.json")
    assert len(manifest.merged) == 2
    report = (folder / "report.md").read_text()
    assert "one" in report
    assert "two" in report
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00-one", "01-two", "manifest.json", "plots", "records.jsonl", "report.html", "report.md"]


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit")
class TestSubmitit:
    def test_a_sweep_in_processes_of_this_machine(self, python, tmp_path, tiny_folder):
        words = two_models(tmp_path, tiny_folder)
        launcher = ("hydra/launcher=submitit", "hydra.launcher.cluster=local", f"machine_lock={tmp_path}/lock")
        environ = {"PYTHONPATH": str(ROOT)}
        done = python(None, "-m", "bench", "-m", *launcher, *words, *SMALL, env=environ)
        assert done.code == 0, done.err
        check_both_are_measured(tmp_path)

    def test_a_job_that_is_killed_is_said(self, tmp_path, monkeypatch):
        from bench.fleet.on_submitit import SubmititBackend

        # How long submitit waits for the answer of a dead job to show up on a slow disk.
        monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
        gone = real_conf(tmp_path, str(tmp_path / "gone"), reports_dir=str(tmp_path))
        with FileLock(tmp_path / "lock"):

            def say(text):
                (process,) = wait_until(lambda: job_processes(psutil.Process()))
                process.parent().kill()

            ((_, answer),) = SubmititBackend("local", {}).run(make_jobs([gone]), tmp_path, say)
        assert answer.status == "failed"
        assert list(tmp_path.glob("submitit-*")), "the logs are kept"


def job_processes(above):
    """Return the processes of ``bench.measure.job`` below this one."""
    found = []
    for process in above.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "-c" in process.cmdline() and any("bench.measure.job" in word for word in process.cmdline()):
                found.append(process)
    return found


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
class TestRay:
    @pytest.fixture
    def cluster(self, no_other_cluster):
        """The process that holds a cluster of two nodes."""
        # Sockets lie below this folder, and their paths must be short.
        folder = tempfile.mkdtemp(prefix="ray-")
        environ = {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
        environ |= dict.fromkeys(("RAY_TMPDIR", "TMPDIR"), folder)
        command = [sys.executable, str(Path(__file__).parents[1] / "support" / "ray_cluster.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=os.environ | environ, text=True, **pipes) as child:
            try:
                child.folder = Path(folder)
                child.address = child.stdout.readline().strip()
                assert child.address
                yield child
            finally:
                left = psutil.Process(child.pid).children(recursive=True)
                child.stdin.close()
                child.wait(WAIT_S)
                _, alive = psutil.wait_procs(left, timeout=10)
                for process in alive:
                    process.kill()
                shutil.rmtree(folder, ignore_errors=True)
        assert not alive

    @contextlib.contextmanager
    def sweep(self, cluster, tmp_path, words):
        launcher = ("hydra/launcher=ray", f"hydra.launcher.address={cluster.address}", f"machine_lock={tmp_path}/lock")
        command = [sys.executable, "-m", "bench", "-m", *launcher, *words, *SMALL]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A test run that was put into the background ignores Ctrl-C, and so would its children.
        restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
        with subprocess.Popen(command, env=environ, cwd=tmp_path, **pipes, **restore) as child:
            try:
                yield child
            finally:
                child.kill()

    def both_jobs(self, cluster):
        jobs = job_processes(psutil.Process(cluster.pid))
        return jobs if len(jobs) == 2 else None

    def test_both_nodes_get_a_job(self, cluster, tmp_path, tiny_folder):
        words = two_models(tmp_path, tiny_folder)
        lock = FileLock(tmp_path / "lock")
        with lock, self.sweep(cluster, tmp_path, words) as child:
            jobs = wait_until(lambda: self.both_jobs(cluster))
            nodes = {job.parent().ppid() for job in jobs}
            lock.release()
            out, err = child.communicate(timeout=WAIT_S)
        assert child.returncode == 0, err
        assert len(nodes) == 2
        check_both_are_measured(tmp_path)
        assert "Startup time" in out
        assert "2 jobs for 2 hosts" in err
        assert "Traceback" not in err

    @pytest.mark.slow
    def test_the_job_of_a_killed_node_is_done_by_the_other(self, cluster, tmp_path, tiny_folder):
        words = two_models(tmp_path, tiny_folder)
        lock = FileLock(tmp_path / "lock")
        with lock, self.sweep(cluster, tmp_path, words) as child:
            jobs = wait_until(lambda: self.both_jobs(cluster))
            cluster.stdin.write("kill\n")
            cluster.stdin.flush()
            wait_until(lambda: not all(job.is_running() for job in jobs))
            lock.release()
            _, err = child.communicate(timeout=WAIT_S)
        assert child.returncode == 0, err
        assert "its host was lost, another one starts it again" in err
        check_both_are_measured(tmp_path)

    @pytest.mark.slow
    def test_ctrl_c_ends_the_jobs(self, cluster, tmp_path, tiny_folder):
        words = two_models(tmp_path, tiny_folder)
        with FileLock(tmp_path / "lock"), self.sweep(cluster, tmp_path, words) as child:
            wait_until(lambda: self.both_jobs(cluster))
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=WAIT_S)
            assert job_processes(psutil.Process(cluster.pid)) == []
        assert not list(cluster.folder.glob("bench-job-*")), "ended, not killed"
        assert (child.returncode, "Traceback" in err) == (130, False)


def test_no_cluster_is_an_error(tmp_path, no_other_cluster):
    pytest.importorskip("ray", exc_type=ImportError)
    code = """
from bench.errors import BenchError
from bench.fleet.on_ray import RayBackend
try:
    next(RayBackend("auto", 0, 0).run([], None, print))
except BenchError as error:
    print(error)
"""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("No Ray cluster at auto: "), done.stderr
