"""The load test: whole runs against fakes, and what they leave."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import BenchError, ConfigError, RecordError
from bench.load import cli, report
from bench.load.observations import read_observations
from bench.load.records import read_phases
from bench.load.run import Targets, run_load
from tests.bench.load.small import SMALL, requests
from tests.bench.support.commands import call
from tests.conftest import ROOT

pytestmark = pytest.mark.process

FAKES = "tests.bench.support.load_targets:"


def measure(tmp_path, service="Right", **changes):
    """Run a small load test of a fake and return its phases by name."""
    options = replace(SMALL, **changes)
    targets = Targets(FAKES + service, FAKES + "Right")
    folder = tmp_path / "run"
    phases = run_load(options, folder, lambda _: None, lock=str(tmp_path / "lock"), targets=targets)
    assert [phase for phase, _ in read_phases(folder)] == phases, "what is written is what was measured"
    return {phase.name: phase for phase in phases}, folder


class TestRecords:
    def test_damaged_files_are_named(self, tmp_path):
        _, folder = measure(tmp_path, phases=("serial",))
        lines = (folder / "load.jsonl").read_text()
        replaced = [
            ('"serial"', '"x"'),
            ("000-", "../"),
            ('"ok":60', '"ok":59'),
            ('"round":0', '"round":"0"'),
            ('"clients"', '"x"'),
        ]
        for bad in ("", "x\n", "[]\n", '{"schema": 9}\n', *(lines.replace(*pair) for pair in replaced)):
            (folder / "load.jsonl").write_text(bad)
            with pytest.raises(RecordError):
                read_phases(folder)
        (folder / "load.jsonl").write_text(lines + lines[: len(lines) // 2])
        assert len(read_phases(folder)) == 1, "a line that was being written is left out"

    @pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
    def test_truncated_requests(self, tmp_path, keep):
        path = tmp_path / "x.npz"
        requests(range(500), 3).write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
        with pytest.raises(RecordError, match="cannot be read"):
            read_observations(path)

    def test_requests_that_do_not_fit_together(self, tmp_path):
        path = tmp_path / "x.npz"
        found = requests(range(5), 3)
        for bad in (replace(found, due_ns=found.due_ns[:3]), replace(found, outcome=found.outcome + 50)):
            bad.write(path)
            with pytest.raises(RecordError, match="do not fit together"):
                read_observations(path)
        replace(found, due_ns=np.array(["x"] * 5)).write(path)
        with pytest.raises(RecordError):
            read_observations(path)

    def test_requests_survive_writing(self, tmp_path):
        found = requests(range(500), 3)
        found.write(tmp_path / "x.npz")
        read = read_observations(tmp_path / "x.npz")
        assert all((vars(read)[name] == vars(found)[name]).all() for name in vars(found))

    def test_a_run_of_something_else_is_refused(self, tmp_path, capsys):
        (tmp_path / "manifest.json").write_text(json.dumps({"schema": 2, "run": "x"}))
        assert call(cli.main, ["report", str(tmp_path)]) == 2
        assert "is not a run of python -m bench.load" in capsys.readouterr().err
        assert call(cli.main, ["report", str(tmp_path / "missing")]) == 2


class TestRuns:
    def test_all_phases_and_the_page(self, tmp_path, capsys):
        phases, folder = measure(tmp_path, rounds=2)
        assert set(phases) == {"closed", "serial", "threads", "batch", "open"}
        assert not any(phase.bad for phase in phases.values())
        assert phases["closed"].counts["ok"] == 200
        assert phases["batch"].counts["ok"] == 60
        assert phases["closed"].facts["engine"] == "hash"
        assert call(cli.main, ["report", str(folder)]) == 0
        out = capsys.readouterr().out
        assert str(folder / "load.md") in out
        page = (folder / "load.md").read_text()
        assert "one process, its best" in page
        assert "What went wrong" not in page
        for name in ("throughput", "latency"):
            assert (folder / "plots" / f"{name}.png").stat().st_size > 1000
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        report.write_report(folder)
        assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_open_loops_are_shares_of_what_was_measured(self, tmp_path):
        phases, _ = measure(tmp_path, rates=(), fractions=(0.01,), phases=("closed", "open"))
        assert phases["open"].fraction == 0.01
        assert phases["open"].offered_per_s > 0

    def test_a_folder_with_a_run_is_refused(self, tmp_path):
        measure(tmp_path, phases=("serial",))
        with pytest.raises(ConfigError, match="already holds a run"):
            measure(tmp_path, phases=("serial",))

    @pytest.mark.parametrize(
        ("service", "outcome", "message", "phases"),
        [
            ("OfAnotherText", "wrong", "the vector of another text", ("closed", "open")),
            ("Slightly", "wrong", "a vector that belongs to no text", ("closed",)),
            ("NotANumber", "wrong", "a vector that is not a number", ("open",)),
            ("Short", "wrong", "an answer of 60 bytes instead of 64", ("closed",)),
            ("Broken", "error", "ServiceUnavailableError: the connection was closed", ("open",)),
            ("Busy", "busy", "ServiceBusyError: too many requests", ("closed",)),
            ("Silent", "unanswered", "no answer within 1 s, or no client left to ask", ("open",)),
        ],
    )
    def test_what_goes_wrong_is_found(self, tmp_path, service, outcome, message, phases):
        phases, folder = measure(tmp_path, service, phases=phases)
        for phase in phases.values():
            assert phase.status == "ok"
            assert phase.counts[outcome] == phase.bad > 0
            assert phase.messages[message] == phase.bad
        report.write_report(folder)
        assert message in (folder / "load.md").read_text()

    def test_a_client_process_that_dies_is_a_failed_phase(self, tmp_path):
        phases, folder = measure(tmp_path, "Dies", phases=("closed", "serial"))
        assert phases["closed"].status == "failed"
        assert "did not finish" in phases["closed"].message
        assert phases["serial"].status == "ok"
        report.write_report(folder)
        assert "1 of 1 rounds failed" in (folder / "load.md").read_text()

    def test_without_a_service_nothing_is_measured(self, tmp_path):
        with pytest.raises(BenchError, match="there is no service"):
            measure(tmp_path, "NotThere", phases=("closed",))

    @pytest.mark.slow
    def test_exit_codes(self, tmp_path, monkeypatch, capsys):
        words = ["--quick", "--phases", "closed", "--patience-s", "1", "--quiet", "--seconds", "0.5"]
        for service, code in (("Right", 0), ("Slightly", 1), ("Dies", 1), ("NotThere", 2)):

            def run(options, folder, say, *, command, service=service):
                targets = Targets(FAKES + service, FAKES + "Right")
                return run_load(options, folder, say, command=command, lock=str(tmp_path / "lock"), targets=targets)

            monkeypatch.setattr(cli, "run_load", run)
            assert call(cli.main, [*words, "--output", str(tmp_path / service)]) == code, service
        assert "error: The service cannot be reached" in capsys.readouterr().err


def test_every_flag_is_documented():
    page = (ROOT / "docs" / "how-to" / "load.md").read_text()
    flags = [option for action in cli._parser()._actions for option in action.option_strings]
    assert [flag for flag in flags if flag not in {"-h", "--help"} and f"`{flag}`" not in page] == []
