"""A sweep on many machines: one job, in a process of its own."""

import contextlib
import json

import pytest
from filelock import FileLock

from bench.fleet.host import HostedJob, run_job
from bench.plan.config import to_plain
from tests.bench.fleet.sweeps import real_conf
from tests.conftest import ROOT
from tests.support.tiny_models import Tiny

pytestmark = pytest.mark.process


@pytest.fixture
def tiny(tiny_folder):
    return tiny_folder(Tiny())


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
