"""``python -m bench.compare``, as a user calls it."""

import json
import shutil

import pytest

from bench.compare.__main__ import load_comparable, main
from bench.errors import RecordError
from bench.stats.comparison import Criteria, compare
from tests.bench.compare.runs import LAZY, OTHER, PLAIN, failed, make_environment, only, write_run
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import fingerprint
from tests.conftest import ROOT


class TestTheCommand:
    CELLS = {PLAIN: 3000, LAZY: 100}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def runs(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_run(tmp_path / "a", self.CELLS)
        write_run(tmp_path / "b", {**self.CELLS, LAZY: 120}, version="1.1", seed=2)

    def test_it_runs_as_a_module(self, python, tmp_path):
        done = python(None, "-m", "bench.compare", "a", "b", env={"PYTHONPATH": str(ROOT)})
        assert (done.code, done.err) == (1, "")
        assert "3 figures compared: 1 over its limit" in done.out
        assert "ratios to those of baseline/minilm/cpu/idle" in done.out
        assert "Drift of the machine" in done.out

    def test_quiet_prints_the_result(self, capsys):
        assert call(main, ["a", "a", "--quiet", "--metric", "total_ms"]) == 0
        assert capsys.readouterr().out == "1 figure compared: 1 same.\n"

    def test_options_are_heard(self):
        assert call(main, ["a", "b", "--quiet", "--tolerance", "0.5"]) == 0
        assert call(main, ["a", "b", "--quiet", "--floor", "total_ms=100"]) == 0
        assert call(main, ["a", "b", "--quiet", "--metric", "peak_mib", "--metric", "cpu_s"]) == 0
        assert call(main, ["a", "b", "--quiet", "--metric", "total_ms", "--confidence", "0.999"]) == 1

    def test_json_has_everything(self, tmp_path):
        call(main, ["a", "b", "--quiet", "--json", "c.json"])
        data = json.loads((tmp_path / "c.json").read_text())
        assert (data["schema"], data["base"], data["head"], data["exit_code"]) == (1, "a", "b", 1)
        total = data["differences"][0]
        assert (total["metric"], total["verdict"], total["design"]) == ("total_ms", "over", "by reference")
        assert total["shift"]["low"] < 1.2 < total["shift"]["high"]
        assert total["reference"] == PLAIN.to_json()
        assert data["criteria"]["tolerance"] == 0.03

    def test_json_has_null_for_what_is_not_known(self, tmp_path):
        write_run(tmp_path / "few", self.CELLS, rounds=3)
        assert call(main, ["a", "few", "--quiet", "--json", "c.json"]) == 3
        data = json.loads((tmp_path / "c.json").read_text())
        assert data["differences"][0]["shift"]["low"] is data["differences"][0]["shift"]["high"] is None

    def test_markdown_is_a_report(self, tmp_path, capsys):
        call(main, ["a", "b", "--quiet", "--markdown", "c.md"])
        assert capsys.readouterr().out.endswith("Report: c.md\n")
        report = (tmp_path / "c.md").read_text()
        assert report.startswith("# Comparison\n\nFrom `a` to `b`. 3 figures compared: 1 over its limit")
        assert "## Changes" in report
        assert "| over its limit |" in report

    def test_text_from_a_run_cannot_become_markup(self, tmp_path):
        machine = fingerprint(make_environment("1.1"))
        broken = fakes.make_record(OTHER, 1, status="failed", message="a | <b>\nc", run="b2", machine=machine)
        write_run(tmp_path / "b2", self.CELLS, version="1.1", extra=[broken])
        call(main, ["a", "b2", "--quiet", "--markdown", "c.md"])
        assert r"failed: a \| \<b\> c |" in (tmp_path / "c.md").read_text()

    def test_drift_that_is_not_covered_is_said(self, tmp_path, capsys):
        for name in ("c", "d"):
            write_run(tmp_path / name, {LAZY: 100})
        call(main, ["c", "d"])
        assert "Drift between the runs is not covered for times of lazy/auto/minilm/cpu/idle" in capsys.readouterr().out

    def test_a_lost_cell_is_an_error(self, tmp_path, capsys):
        write_run(tmp_path / "c", {PLAIN: 3000}, extra=[failed(LAZY, "1.0", "c")])
        write_run(tmp_path / "d", {**self.CELLS, OTHER: 1})
        assert call(main, ["d", "a", "--quiet"]) == 2
        assert "error: progressive/auto/minilm/cpu/idle has samples in BASE but none in HEAD: not measured" in (
            capsys.readouterr().err
        )
        assert call(main, ["a", "c"]) == 2
        assert "lazy/auto/minilm/cpu/idle: failed: it broke" in capsys.readouterr().err

    def test_other_machines_are_refused_with_three(self, tmp_path, capsys):
        write_run(tmp_path / "c", self.CELLS, environment=make_environment(processor="two"))
        assert call(main, ["a", "c"]) == 3
        assert capsys.readouterr().err.startswith("error: The runs were not measured alike: processor (one, then two)")

    @pytest.mark.parametrize(
        "words",
        [
            ["--metric", "speed"],
            ["--floor", "total_ms"],
            ["--floor", "speed=1"],
            ["--floor", "total_ms=-1"],
            ["--tolerance", "-1"],
            ["--tolerance", "nan"],
            ["--confidence", "1"],
            ["--confidence", "95"],
        ],
    )
    def test_nonsense_is_refused_with_two(self, words):
        with pytest.raises(SystemExit) as ended:
            call(main, ["a", "b", *words])
        assert ended.value.code == 2

    def test_a_file_that_cannot_be_written(self, capsys):
        assert call(main, ["a", "b", "--quiet", "--json", "nowhere/c.json"]) == 2
        assert "nowhere/c.json" in capsys.readouterr().err


def damage(name, content):
    def change(folder):
        (folder / name).write_text(content, errors="surrogateescape")

    return change


def without(*names):
    def change(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key not in names}))

    return change


def with_value(name, value):
    def change(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {name: value}))

    return change


@pytest.mark.parametrize(
    "change",
    [
        shutil.rmtree,
        lambda folder: (folder / "records.jsonl").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        damage("manifest.json", "{"),
        damage("manifest.json", "[]"),
        damage("manifest.json", '{"schema": 2}'),
        damage("manifest.json", '{"schema": 99}'),
        damage("manifest.json", "\udc80"),
        damage("records.jsonl", "\udc80\n"),
        damage("records.jsonl", "nonsense\n"),
        without("cells"),
        without("environments"),
        without("variables"),
        with_value("environments", []),
        with_value("environments", {"a": 1}),
        with_value("environments", {"a": {"packages": 1}}),
        with_value("cells", [1]),
        with_value("cells", [{"speed": 1}]),
        with_value("variables", 1),
        with_value("protocol", 1),
        with_value("merged", [1]),
    ],
)
def test_what_is_no_run_is_named(tmp_path, change):
    folder = write_run(tmp_path / "a", {LAZY: 100})
    change(folder)
    with pytest.raises(RecordError, match=r"/a(/manifest.json)? (cannot be read|is damaged|has schema)"):
        load_comparable(folder)


def test_a_run_that_was_killed_while_it_wrote_is_compared(tmp_path):
    folder = write_run(tmp_path / "a", {LAZY: 100})
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"half": ')
    assert only(compare(load_comparable(folder), load_comparable(folder), Criteria(("total_ms",)))).verdict == "same"


@pytest.mark.parametrize("name", ["cold", "reference/full", "specification"])
def test_the_runs_of_this_repository_can_be_compared_with_themselves(name):
    run = load_comparable(ROOT / "reports" / name)
    comparison = compare(run, run, Criteria())
    assert comparison.differences
    assert all(each.shift.ratio == pytest.approx(1.0, abs=1e-9) for each in comparison.differences)
    assert not comparison.judged("over")
    assert not comparison.judged("improved")
