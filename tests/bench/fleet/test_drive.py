"""A sweep on many machines: what comes back, and what does not."""

import contextlib
import io
import json

import pytest
from omegaconf import OmegaConf

from bench.data.manifest import read_manifest
from bench.data.records import read_records
from bench.errors import ConfigError
from bench.fleet.drive import measure, run
from bench.fleet.jobs import Answer
from bench.plan.config import NamedConf, QualityConf
from tests.bench.data.test_merge import make_manifest
from tests.bench.fleet.sweeps import conf
from tests.bench.support import fakes

pytestmark = pytest.mark.process


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
