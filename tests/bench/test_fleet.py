"""A sweep on many machines: what goes together, what becomes of lost hosts, and the real back ends."""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bench.data.manifest import read_manifest
from bench.data.records import read_records
from bench.errors import ConfigError
from bench.fleet.drive import measure, run
from bench.fleet.host import HostedJob, run_job
from bench.fleet.jobs import Answer, Job, group, make_jobs
from bench.fleet.pool import HostLost, Pool
from bench.plan.cell import BASELINE
from bench.plan.config import BenchConf, ModelConf, NamedConf, QualityConf, ScenarioConf, from_plain, to_plain
from bench.plan.plan import make_plan
from tests.bench.data.test_merge import make_manifest
from tests.bench.support import fakes
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


def conf(strategy="lazy", model="one", **changes):
    fields = {
        "strategy": NamedConf(strategy),
        "engine": NamedConf("auto"),
        "model": ModelConf(model, f"org/{model}"),
        "device": NamedConf("cpu"),
        "scenario": ScenarioConf("idle"),
        "cache_state": NamedConf("warm"),
        "suite": NamedConf("none"),
        "protocol": fakes.make_protocol(),
        "baseline": True,
        "seed": 1,
        "quiet": True,
        "reports_dir": "reports",
        "run_name": "run",
    }
    return BenchConf(**{**fields, **changes})


def wait_until(condition):
    """Wait for what must come; the limit only keeps a broken test from hanging."""
    limit = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found


class TestGroups:
    def test_cells_stay_with_their_reference(self):
        think = ScenarioConf("think_time", 2.0, "sleep")
        configs = [
            conf(strategy, model, **more)
            for strategy in ("lazy", "progressive")
            for model in ("one", "two")
            for more in ({}, {"scenario": think}, {"threads": 1}, {"device": NamedConf("cuda")})
        ]
        groups = group(configs)
        assert len(groups) == 8
        assert sorted(map(id, configs)) == sorted(id(member) for members in groups for member in members)
        for members in groups:
            cells = make_plan(members).cells
            assert [cell.strategy for cell in cells] == [BASELINE, "lazy", "progressive"]
            assert len({cell.reference for cell in cells}) == 1

    def test_the_jobs_measure_what_the_sweep_would(self):
        configs = [conf(strategy, model) for strategy in ("lazy", "progressive") for model in ("a/b c", "two")]
        jobs = make_jobs(configs)
        assert [str(job.folder) for job in jobs] == ["reports/run/00-a-b-c", "reports/run/01-two"]
        assert {cell for job in jobs for cell in job.cells} == set(make_plan(configs).cells)

    def test_what_belongs_to_the_run_cannot_be_swept(self):
        with pytest.raises(ConfigError, match="seed cannot be swept"):
            group([conf(model="one", seed=1), conf(model="two", seed=2)])

    def test_a_request_survives_its_way(self):
        (job,) = make_jobs([conf("lazy"), conf("progressive")])
        request = json.loads(json.dumps(job.request()))
        assert tuple(from_plain(plain) for plain in request["configs"]) == job.configs


class FakeHosts:
    """Hosts of a pool: each does one job at a time, and is lost when the script says so."""

    def __init__(self, lost=()):
        self.lost = list(lost)
        self.busy, self.gone, self.begun = {}, set(), []

    def begin(self, host, job):
        assert host not in self.gone
        assert host not in self.busy.values()
        ticket = len(self.begun)
        self.begun.append((host, job.name))
        self.busy[ticket] = host
        return ticket

    def await_one(self, tickets):
        assert set(tickets) == set(self.busy)
        ticket = tickets[-1]
        host = self.busy.pop(ticket)
        if self.lost and self.lost.pop(0):
            self.gone.add(host)
            return ticket, HostLost(f"{host} is gone")
        return ticket, Answer("ok")

    def share(self, jobs, hosts):
        self.said = []
        return list(Pool(self.begin, self.await_one, self.said.append).share(jobs, hosts))


def some_jobs(count):
    return [Job(f"j{number}", ()) for number in range(count)]


class TestPool:
    def test_each_free_host_gets_the_next_job(self):
        hosts = FakeHosts()
        ended = hosts.share(some_jobs(4), ["a", "b"])
        assert [job.name for job, _ in ended] == ["j1", "j2", "j3", "j0"]
        assert hosts.begun == [("a", "j0"), ("b", "j1"), ("b", "j2"), ("b", "j3")]

    def test_the_job_of_a_lost_host_is_done_by_another(self):
        hosts = FakeHosts([True])
        ended = hosts.share(some_jobs(2), ["a", "b"])
        assert {(job.name, answer.status) for job, answer in ended} == {("j0", "ok"), ("j1", "ok")}
        assert hosts.begun == [("a", "j0"), ("b", "j1"), ("a", "j1")]
        assert "j1" in hosts.said[0]
        assert "b is gone" in hosts.said[0]

    def test_a_job_that_loses_two_hosts_has_failed(self):
        ((job, answer),) = FakeHosts([True, True]).share(some_jobs(1), ["a", "b", "c"])
        assert (job.name, answer.status) == ("j0", "failed")
        assert "a is gone; b is gone" in answer.message

    def test_without_hosts_everything_has_failed(self):
        ended = FakeHosts([True]).share(some_jobs(2), ["a"])
        assert [answer.status for _, answer in ended] == ["failed", "failed"]
        assert "a is gone" in ended[0][1].message
        assert "the job never started" in ended[1][1].message

    @given(st.integers(0, 6), st.integers(0, 4), st.lists(st.booleans(), max_size=8))
    def test_every_job_is_answered_once(self, jobs, hosts, lost):
        fake = FakeHosts(lost)
        ended = fake.share(some_jobs(jobs), range(hosts))
        assert sorted(job.name for job, _ in ended) == [f"j{number}" for number in range(jobs)]
        for job, answer in ended:
            tries = [name for _, name in fake.begun].count(job.name)
            assert tries in ({1, 2} if answer.status == "ok" else {0, 1, 2})
        assert len([1 for _, answer in ended if answer.status == "ok"]) == len(fake.begun) - len(fake.gone)


class FakeBackend:
    """Answers from a table instead of asking hosts."""

    def __init__(self, answers, *, interrupt=False):
        self._answers, self._interrupt = answers, interrupt

    def run(self, jobs, folder, say):
        assert folder.is_dir()
        for job in jobs:
            if job.name in self._answers:
                yield job, self._answers[job.name](job)
        if self._interrupt:
            raise KeyboardInterrupt


def measured(machine, *, status="ok", missing=False):
    def answer(job):
        records = [
            fakes.make_record(cell, 1, run=job.name, machine=machine, status="failed" if missing else "ok")
            for cell in job.cells
        ]
        manifest = make_manifest(run=job.name, machine=machine, cells=job.cells)
        text = json.dumps({"schema": 2, **manifest})
        return Answer(status, "", "".join(record.to_line() for record in records), text)

    return answer


def failed(job):
    return Answer("failed", "the disk is full")


TWO = [conf(model="one", baseline=False), conf(model="two", baseline=False)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports" / "run"


def code_of(configs, backend):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = run([OmegaConf.structured(config) for config in configs], backend)
    return code, err.getvalue()


class TestDrive:
    def test_what_comes_back_becomes_one_run(self, here):
        result = measure(TWO, FakeBackend({"00-one": measured("m1"), "01-two": measured("m2")}))
        assert (result.failed, result.missing, result.interrupted) == ((), (), False)
        records = read_records(here / "records.jsonl")
        assert {(record.machine, record.cell.model_key) for record in records} == {("m1", "one"), ("m2", "two")}
        assert list(read_manifest(here / "manifest.json").environments) == ["m1", "m2"]
        for name in ("00-one", "01-two"):
            assert sorted(path.name for path in (here / name).iterdir()) == ["manifest.json", "records.jsonl"]

    def test_what_a_job_wrote_itself_is_not_touched(self, here):
        def answer(job):
            text = measured("m1")(job)
            job.folder.mkdir(parents=True)
            (job.folder / "manifest.json").write_text(text.manifest)
            (job.folder / "records.jsonl").write_text(text.records)
            return Answer("ok", "", "other", "other")

        measure(TWO[:1], FakeBackend({"00-one": answer}))
        assert len(read_records(here / "00-one" / "records.jsonl")) == 1

    def test_a_failed_job_is_said_and_the_others_are_kept(self, here):
        code, err = code_of(TWO, FakeBackend({"00-one": failed, "01-two": measured("m2")}))
        assert code == 1
        assert err.splitlines() == [
            "job 00-one failed: the disk is full",
            "no valid sample: lazy/auto/one/cpu/idle",
        ]
        assert len(read_records(here / "records.jsonl")) == 1
        assert (here / "report.md").is_file()

    def test_a_cell_without_a_valid_sample_is_said(self, here):
        backend = FakeBackend({"00-one": measured("m1"), "01-two": measured("m2", missing=True)})
        assert code_of(TWO, backend) == (1, "no valid sample: lazy/auto/two/cpu/idle\n")

    def test_nothing_at_all_is_an_error(self, here):
        code, err = code_of(TWO, FakeBackend({"00-one": failed, "01-two": failed}))
        assert (code, err.count("the disk is full"), err.startswith("error: ")) == (2, 2, True)
        assert not (here / "records.jsonl").exists()

    def test_an_interrupted_sweep_reports_what_it_has(self, here):
        code, err = code_of(TWO, FakeBackend({"01-two": measured("m2")}, interrupt=True))
        assert (code, err.splitlines()[0]) == (130, "job 00-one did not run: interrupted")
        assert (here / "report.md").is_file()

    def test_an_interrupted_sweep_that_has_nothing(self, here):
        assert code_of(TWO, FakeBackend({}, interrupt=True)) == (130, "interrupted\n")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"suite": NamedConf("quality"), "quality": QualityConf(50, None, 60.0)},
                "suite=quality runs on this machine",
            ),
            ({"resume": "reports/old"}, "resume=reports/old runs on this machine"),
        ],
    )
    def test_what_cannot_be_shared(self, here, changes, message):
        with pytest.raises(ConfigError, match=message):
            measure([conf(**changes)], FakeBackend({}))

    def test_a_folder_that_is_taken(self, here):
        (here / "00-one").mkdir(parents=True)
        (here / "00-one" / "records.jsonl").write_text("precious\n")
        with pytest.raises(ConfigError, match=r"python -m bench\.merge reports/run/"):
            measure(TWO, FakeBackend({}))
        (here / "00-one" / "records.jsonl").rename(here / "records.jsonl")
        with pytest.raises(ConfigError, match="already holds a run"):
            measure(TWO, FakeBackend({}))


@pytest.fixture
def no_other_cluster(tmp_path_factory):
    """Tests that run beside must have no cluster meanwhile: Ray looks for one among the processes of the machine."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield


@pytest.fixture
def tiny(tiny_folder):
    return tiny_folder(Tiny())


def real_conf(tmp_path, model, **changes):
    protocol = fakes.make_protocol(warmup_rounds=0, rounds=1, sample_timeout_s=60.0, max_reruns=0.0)
    made = conf(engine=NamedConf("numpy"), baseline=False, protocol=protocol, machine_lock=str(tmp_path / "lock"))
    return replace(made, model=ModelConf("tiny", model), **changes)


class TestJob:
    def test_it_answers_with_the_files_and_leaves_none(self, tmp_path, tiny, monkeypatch):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        asked = to_plain(real_conf(tmp_path, tiny))
        answer = run_job({"configs": [asked], "temporary": True, "arguments": ["-m", "model=one,two"]})
        assert (answer["status"], answer["missing"]) == ("ok", [])
        manifest = json.loads(answer["manifest"])
        assert manifest["jobs"] == [asked]
        assert manifest["command"] == "python -m bench -m model=one,two"
        (record,) = (json.loads(line) for line in answer["records"].splitlines())
        assert (record["status"], record["run"]) == ("ok", manifest["run"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]

    def test_it_writes_where_it_is_told(self, tmp_path, tiny):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "records.jsonl").write_text("precious\n")
        answer = run_job({"configs": [to_plain(real_conf(tmp_path, tiny))], "folder": str(tmp_path / "run")})
        assert (answer["status"], answer["records"]) == ("failed", "")
        assert "already holds a run" in answer["message"]

    def test_a_model_that_is_nowhere_is_missing(self, tmp_path):
        gone = to_plain(real_conf(tmp_path, str(tmp_path / "gone")))
        answer = run_job({"configs": [gone], "temporary": True})
        assert (answer["status"], answer["missing"]) == ("ok", ["lazy/numpy/tiny/cpu/idle"])

    @pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"configs": [{"seed": "x"}]}'])
    def test_what_is_no_request(self, python, line):
        done = python(None, "-m", "bench.measure.job", stdin=line + "\n", env={"PYTHONPATH": str(ROOT)})
        assert done.code == 2, done.err
        answer = json.loads(done.out.strip().removeprefix("bench-answer:"))
        assert (answer["status"], answer["records"], bool(answer["message"])) == ("failed", "", True)

    def test_a_process_that_cannot_start_says_why(self, monkeypatch):
        monkeypatch.setattr("bench.fleet.host.PROGRAM", "raise SystemExit('no such thing')")
        answer = run_job({"configs": []})
        assert answer == {"status": "failed", "message": "exit code 1 without an answer: no such thing"}

    def test_it_ends_when_its_host_is_gone(self, tmp_path, tiny):
        with FileLock(tmp_path / "lock"):
            job = HostedJob(
                {
                    "configs": [to_plain(real_conf(tmp_path, tiny))],
                    "folder": str(tmp_path / "run"),
                    "end_with_stdin": True,
                }
            )
            with contextlib.closing(job):
                job.end()
                answer = job.answer()
        assert answer["status"] == "interrupted"

    def test_neither_ray_nor_numpy_gets_into_the_process_that_measures(self, python):
        code = (
            "import bench.measure.job, sys; print({'numpy', 'ray', 'submitit', 'torch', 'pandas'} & set(sys.modules))"
        )
        assert python(code, env={"PYTHONPATH": str(ROOT)}).out == "set()\n"


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
        command = [sys.executable, str(Path(__file__).parent / "support" / "ray_cluster.py")]
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
