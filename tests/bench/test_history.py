"""Runs over commits: which commit a run records, which runs belong together, in which order, and what is shown."""

import datetime
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.data.manifest import read_manifest
from bench.data.merging import merge
from bench.data.records import append_record
from bench.errors import ConfigError, RecordError
from bench.history.__main__ import main
from bench.history.find import find_runs
from bench.history.order import Position, group_runs
from bench.history.page import notes, sheet_table, to_document
from bench.history.picture import draw
from bench.history.runs import HistoryRun, MeasuredRevision, printable, read_runs, to_time
from bench.history.sheets import make_history
from bench.history.trends import make_trend
from bench.plan.cell import BASELINE
from bench.report.markdown import render
from bench.report.saving import save
from bench.stats.comparison import Criteria
from bench.stats.intervals import median_interval
from bench.stats.shifts import independent_shift, paired_shift
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import environment_of, fingerprint, write_manifest
from tests.bench.test_compare import PROTOCOL, make_environment, write_run
from tests.conftest import ROOT

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell(BASELINE)
NUMPY = fakes.make_cell("import_numpy", subject="import_numpy", engine="")
STILL = {"noise": 0.0}
"""Without noise, so that figures are known."""


def make_revision(number, day=None, *, dirty=False, subject="Load it", **changes):
    """Return the revision of a commit that was made on a day of January."""
    committed_at = f"2026-01-{day or number:02d}T12:00:00+01:00"
    return {"commit": f"{number:x}" * 40, "committed_at": committed_at, "dirty": dirty, "subject": subject, **changes}


def history_of(folder, criteria=None, last=None, **options):
    found = find_runs([folder])
    return make_history(group_runs(found.runs, last), criteria or Criteria(), found.left_out, **options)


def only(items):
    (item,) = items
    return item


def names(group):
    return [position.name for position in group.positions]


class TestOrder:
    def test_by_commit_time_and_not_by_folder_or_time_of_measuring(self, tmp_path):
        for folder, number, day in (("c", 1, 1), ("a", 2, 2), ("b", 3, 3)):
            write_run(tmp_path / folder, {LAZY: 100}, rounds=1, revision=make_revision(number, day))
        assert names(only(group_runs(find_runs([tmp_path]).runs))) == ["1" * 8, "2" * 8, "3" * 8]

    def test_time_zones(self, tmp_path):
        early = make_revision(1, committed_at="2026-01-02T01:00:00+05:00")
        late = make_revision(2, committed_at="2026-01-01T23:00:00+00:00")
        for folder, revision in (("a", late), ("b", early)):
            write_run(tmp_path / folder, {LAZY: 100}, rounds=1, revision=revision)
        assert names(only(group_runs(find_runs([tmp_path]).runs))) == ["1" * 8, "2" * 8]

    def test_runs_of_one_commit_share_a_place_and_changed_code_has_its_own(self, tmp_path):
        for folder, revision in (
            ("a", make_revision(1)),
            ("b", make_revision(1, dirty=True)),
            ("c", make_revision(1, dirty=True)),
            ("d", make_revision(1)),
            ("e", make_revision(2)),
        ):
            write_run(tmp_path / folder, {LAZY: 100}, rounds=1, revision=revision)
        group = only(group_runs(find_runs([tmp_path]).runs))
        assert names(group) == ["11111111", "11111111+", "11111111+", "22222222"]
        assert [[run.name for run in position.runs] for position in group.positions] == [
            ["a", "d"],
            ["b"],
            ["c"],
            ["e"],
        ]
        assert any("uncommitted changes" in note for note in notes(history_of(tmp_path)))

    def test_without_a_revision_by_the_first_sample_and_it_is_said(self, tmp_path):
        write_run(tmp_path / "a", {LAZY: 100}, rounds=1, revision=make_revision(1, committed_at="2026-01-03T00:00:00Z"))
        write_run(tmp_path / "b", {LAZY: 100}, rounds=2)  # its records are of the first of January
        history = history_of(tmp_path)
        assert names(only(history.groups)) == ["?", "11111111"]
        assert any("1 run without a known commit" in note for note in notes(history))
        assert sheet_table(only(history.sheets)).rows[0][:2] == ("?", "measured 2026-01-01 00:00")

    def test_a_commit_whose_time_another_run_knows(self, tmp_path):
        arm = {"asked": "HEAD", "commit": "1" * 40, "subject": "Load it"}
        write_run(tmp_path / "a", {LAZY: 100}, rounds=1, revision=arm)
        write_run(tmp_path / "b", {LAZY: 100}, rounds=1, revision=make_revision(2, 5))
        history = history_of(tmp_path)
        assert [position.is_placed_by_commit for position in only(history.groups).positions] == [False, True]
        assert any("A commit whose date is unknown" in note for note in notes(history))
        write_run(tmp_path / "c", {LAZY: 100}, rounds=1, revision=make_revision(1, 7))
        assert names(only(history_of(tmp_path).groups)) == ["22222222", "11111111"]

    def test_the_last_ones(self, tmp_path):
        for number in range(1, 6):
            write_run(tmp_path / str(number), {LAZY: 100}, rounds=1, revision=make_revision(number))
        assert names(only(group_runs(find_runs([tmp_path]).runs, 2))) == ["4" * 8, "5" * 8]


class TestGroups:
    @pytest.mark.parametrize(
        "changes",
        [
            {"environment": make_environment(packages={"torch": "9"})},
            {"environment": make_environment(processor="another")},
            {"variables": {"OMP_NUM_THREADS": "7"}},
            {"protocol": {**PROTOCOL, "sample_timeout_s": 1.0}},
        ],
    )
    def test_what_was_measured_otherwise_is_apart(self, tmp_path, changes):
        for number in (1, 3):
            write_run(tmp_path / str(number), {LAZY: 100}, revision=make_revision(number))
        write_run(tmp_path / "2", {LAZY: 900}, revision=make_revision(2), **changes)
        history = history_of(tmp_path)
        assert [names(group) for group in history.groups] == [["1" * 8, "3" * 8], ["2" * 8]]
        assert [sheet.group.name for sheet in history.sheets] == ["A", "B"]
        assert [[change.mark for change in sheet.trend.changes] for sheet in history.sheets] == [["none"], []]
        assert any("cannot be compared with each other" in note for note in notes(history))
        changed = [name for name, _ in history.groups[1].differing.items()]
        assert changed, "the page says how they differ"

    def test_another_version_of_this_project_is_the_same_group(self, tmp_path):
        for number in (1, 2):
            write_run(tmp_path / str(number), {LAZY: 100}, version=f"{number}.0", revision=make_revision(number))
        assert len(history_of(tmp_path).groups) == 1

    def test_the_commit_is_not_part_of_the_fingerprint(self, tmp_path):
        a = write_run(tmp_path / "a", {LAZY: 100}, rounds=1, revision=make_revision(1))
        b = write_run(tmp_path / "b", {LAZY: 100}, rounds=1, revision=make_revision(2))
        assert read_manifest(a / "manifest.json").machine == read_manifest(b / "manifest.json").machine


class TestFinding:
    def test_runs_lie_below_the_named_folder_or_are_it(self, tmp_path):
        for name in ("x/y/one", "x/two"):
            write_run(tmp_path / name, {LAZY: 100}, rounds=1, run=name, revision=make_revision(1))
        assert [run.name for run in find_runs([tmp_path]).runs] == ["x/two", "x/y/one"]
        assert [run.name for run in find_runs([tmp_path / "x" / "two"]).runs] == ["two"]
        assert len(find_runs([tmp_path, tmp_path / "x"]).runs) == 2

    def test_what_is_left_out_is_named(self, tmp_path, capsys):
        write_run(tmp_path / "good", {LAZY: 100}, rounds=1)
        write_run(tmp_path / "empty", {LAZY: 100}, rounds=0)
        for name, manifest in (
            ("garbage", "{"),
            ("list", "[]"),
            ("odd", '{"schema": 2, "environments": 7}'),
            ("newer", '{"schema": 99}'),
        ):
            (tmp_path / name).mkdir()
            (tmp_path / name / "manifest.json").write_text(manifest)
            record = fakes.make_record().to_line()
            (tmp_path / name / "records.jsonl").write_text(record)
        (tmp_path / "quality").mkdir()
        write_manifest(tmp_path / "quality" / "manifest.json", {})
        (tmp_path / "quality" / "quality.jsonl").write_text("{}\n")
        damaged = write_run(tmp_path / "damaged", {LAZY: 100}, rounds=1)
        (damaged / "records.jsonl").write_bytes(b"\xff\n")
        assert call(main, [str(tmp_path), "--output", str(tmp_path / "out"), "--quiet"]) == 0
        warnings = capsys.readouterr().err.splitlines()
        assert len(warnings) == 7
        assert all(line.startswith("warning: ") for line in warnings)
        for name in ("empty", "garbage", "list", "odd", "newer", "quality", "damaged"):
            assert sum(f"{os.sep}{name} is skipped" in line for line in warnings) == 1, name

    @pytest.mark.parametrize(
        "field", ["marks_ns", "memory", "cell", "started_at", "cpu_s", "round", "status", "heartbeat"]
    )
    @pytest.mark.parametrize("value", [None, 7, "x", [1], {"spawn": "x", "first_embedding": []}, 10**400])
    def test_records_of_odd_types_are_left_out_or_read(self, tmp_path_factory, field, value):
        folder = tmp_path_factory.mktemp("runs")
        write_run(folder / "good", {LAZY: 100})
        odd = write_run(folder / "odd", {LAZY: 100}, rounds=2)
        lines = [json.loads(line) | {field: value} for line in (odd / "records.jsonl").read_text().splitlines()]
        (odd / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert render(to_document(history_of(folder)))
        assert "good" in [run.name for run in find_runs([folder]).runs]

    def test_nothing_there(self, tmp_path, capsys):
        with pytest.raises(RecordError, match="is not a folder"):
            find_runs([tmp_path / "missing"])
        assert call(main, [str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert str(tmp_path) in error
        assert "python -m bench" in error

    def test_a_folder_that_may_not_be_read(self, tmp_path, monkeypatch):
        write_run(tmp_path / "good", {LAZY: 100}, rounds=1)
        (tmp_path / "closed").mkdir()
        real = os.scandir

        def scandir(path):
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)  # the tests may run as root, who may read everything
        found = find_runs([tmp_path])
        assert len(found.runs) == 1
        assert "Permission denied" in only(found.left_out)

    def test_no_such_cell(self, tmp_path, capsys):
        write_run(tmp_path / "good", {LAZY: 100}, rounds=1)
        assert call(main, [str(tmp_path), "--cells", "nothing*", "--output", str(tmp_path / "out")]) == 2
        assert LAZY.label() in capsys.readouterr().err
        with pytest.raises(ConfigError):
            history_of(tmp_path, metrics=["results_ms"])

    def test_a_copy_counts_once_and_a_merged_run_is_its_parts(self, tmp_path):
        folders = [
            write_run(
                tmp_path / "runs" / str(n), {LAZY: 100 * n}, run=f"run{n}", seed=n, revision=make_revision(n), **STILL
            )
            for n in (1, 2)
        ]
        merged = merge(folders, tmp_path / "merged")
        runs = find_runs([merged]).runs
        assert {run.revision.commit: {r.marks_ns["first_embedding"] for r in run.records} for run in runs} == {
            "1" * 40: {100_000_000},
            "2" * 40: {200_000_000},
        }
        assert len(find_runs([tmp_path]).runs) == 2

    def test_old_runs_are_read(self, tmp_path):
        """Of the first schema: one environment, and no identity of runs and machines."""
        folder = tmp_path / "old"
        folder.mkdir()
        (folder / "records.jsonl").write_bytes((ROOT / "tests" / "data" / "records-schema-1.jsonl").read_bytes())
        manifest = {"schema": 1, "environment": make_environment(), "variables": {}, "protocol": PROTOCOL, "cells": []}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        run = only(find_runs([tmp_path]).runs)
        assert run.records
        assert run.revision is None
        assert run.measured_at is not None


class TestFigures:
    def write(self, folder, *totals, reference=None, **options):
        """Write a run for each figure, at commits 1, 2, 3 ..."""
        for number, total in enumerate(totals, 1):
            cells = {LAZY: total} | ({} if reference is None else {PLAIN: reference[number - 1]})
            options = {"noise": 0.01, **options}
            write_run(folder / str(number), cells, seed=number, revision=make_revision(number), **options)

    def test_samples_medians_and_intervals_of_each_run(self, tmp_path):
        self.write(tmp_path, 100, 150)
        points = only(history_of(tmp_path).sheets).trend.points
        for point, run in zip(points, find_runs([tmp_path]).runs, strict=True):
            values = [record.marks_ns["first_embedding"] / 1e6 for record in run.records]
            assert list(point.values.values()) == values
            assert sorted(values)[9] <= point.median <= sorted(values)[10]
            assert point.interval == median_interval(values)

    @pytest.mark.parametrize(
        ("after", "mark"), [(100, "none"), (101, "none"), (110, "up"), (90, "down"), (200, "up"), (50, "down")]
    )
    def test_marks(self, tmp_path, after, mark):
        self.write(tmp_path, 100, after)
        assert only(only(history_of(tmp_path).sheets).trend.changes).mark == mark

    def test_a_change_is_the_shift_of_independent_samples(self, tmp_path):
        self.write(tmp_path, 100, 110)
        trend = only(history_of(tmp_path).sheets).trend
        logs = [[math.log(value) for value in point.values.values()] for point in trend.points]
        assert only(trend.changes).shift == independent_shift(*logs, 0.025)

    def test_arms_of_one_gate_are_paired_by_round(self, tmp_path):
        slow = [1.0, 3.0, 2.0, 9.0, 4.0] * 4  # rounds that were slow for both
        for number, (arm, total) in enumerate((("base", 100), ("head", 110)), 1):
            write_run(
                tmp_path / arm, {LAZY: total}, seed=number, drift=slow.__getitem__, gate="g", arm=arm,
                revision=make_revision(number),
            )  # fmt: skip
        trend = only(history_of(tmp_path).sheets).trend
        first, second = (point.values for point in trend.points)
        differences = [math.log(second[number] / first[number]) for number in first]
        assert only(trend.changes).shift == paired_shift(differences, 0.025)
        assert only(trend.changes).mark == "up"

    def test_the_tolerance_is_that_of_the_caller(self, tmp_path):
        self.write(tmp_path, 100, 110)
        changes = only(history_of(tmp_path, Criteria(tolerance=0.2)).sheets).trend.changes
        assert only(changes).mark == "none"

    def test_few_samples_have_no_interval(self, tmp_path):
        self.write(tmp_path, 100, 200, rounds=5)
        trend = only(history_of(tmp_path).sheets).trend
        assert [point.interval for point in trend.points] == [None, None]
        assert only(trend.changes).mark == "unclear"
        assert only(trend.changes).shift.ratio == pytest.approx(2, rel=0.05)

    def test_a_machine_that_became_slower_is_no_slower_code(self, tmp_path):
        self.write(tmp_path, 100, 105, 100, reference=[3000, 3150, 3000])
        trend = only(history_of(tmp_path).sheets).trend
        assert trend.reference == PLAIN
        assert [change.mark for change in trend.changes] == ["none", "none"]
        assert [point.median for point in trend.points] == pytest.approx([1 / 30] * 3, rel=0.02)
        assert [point.plain_median for point in trend.points] == pytest.approx([100, 105, 100], rel=0.02)
        plain = only(history_of(tmp_path, absolute=True).sheets).trend
        assert plain.reference is None
        assert [change.mark for change in plain.changes] == ["up", "down"]

    def test_a_reference_that_moved_too_far_says_that_nothing_can_be_said(self, tmp_path):
        self.write(tmp_path, 100, 400, reference=[3000, 6000])
        trend = only(history_of(tmp_path).sheets).trend
        assert only(trend.changes).mark == "machine"
        assert "the machine changed" in sheet_table(only(history_of(tmp_path).sheets)).rows[1]

    def test_numpy_is_the_reference_where_there_is_no_other(self, tmp_path):
        for number in (1, 2):
            write_run(tmp_path / str(number), {LAZY: 100, NUMPY: 50}, revision=make_revision(number), **STILL)
        trend = only(history_of(tmp_path).sheets).trend
        assert trend.reference == NUMPY
        assert [point.median for point in trend.points] == [2.0, 2.0]

    def test_ratios_are_of_the_same_round(self, tmp_path):
        slow = [1.0, 5.0, 2.0, 8.0] * 5
        write_run(tmp_path / "1", {LAZY: 100, PLAIN: 400}, drift=slow.__getitem__, **STILL)
        point = only(only(history_of(tmp_path).sheets).trend.points)
        assert list(point.values.values()) == pytest.approx([0.25] * 20)

    def test_one_run_without_the_reference_makes_all_plain(self, tmp_path):
        self.write(tmp_path, 100, 100, reference=[3000, 3000])
        write_run(tmp_path / "3", {LAZY: 100}, revision=make_revision(3))
        history = history_of(tmp_path)
        assert only(history.sheets).trend.reference is None
        assert any("looks like slower code" in note for note in notes(history))

    def test_memory_is_never_a_ratio(self, tmp_path):
        self.write(tmp_path, 100, reference=[3000])
        trend = only(history_of(tmp_path, metrics=["peak_mib"]).sheets).trend
        assert trend.reference is None
        assert set(only(trend.points).values.values()) == {60.0}

    def test_a_run_without_values_is_a_row_and_no_zero(self, tmp_path):
        self.write(tmp_path, 100)
        write_run(
            tmp_path / "2", {}, revision=make_revision(2),
            extra=[fakes.make_record(LAZY, n, run="2", machine=fingerprint(make_environment()), status="failed",
                             message="no") for n in range(3)],
        )  # fmt: skip
        write_run(tmp_path / "3", {LAZY: 150}, revision=make_revision(3), seed=3)
        history = history_of(tmp_path)
        trend = only(history.sheets).trend
        assert [point.median is None for point in trend.points] == [False, True, False]
        assert only(trend.changes).before == 0
        assert only(trend.changes).mark == "up"
        row = sheet_table(only(history.sheets)).rows[1]
        assert row[4:6] == ("0", "3 failed")

    def test_a_mark_between_runs_of_one_commit_is_said_to_be_noise(self, tmp_path):
        for name, total in (("a", 100), ("b", 150)):
            write_run(tmp_path / name, {LAZY: total}, revision=make_revision(1), seed=total)
        assert any("two runs of the same commit" in note for note in notes(history_of(tmp_path)))

    def test_zeros_have_no_ratio(self, tmp_path):
        for number in (1, 2):
            records = [
                fakes.make_record(LAZY, n, heartbeat={"total_stall_s": 0.0}, run=str(number), machine="m")
                for n in range(12)
            ]
            folder = tmp_path / str(number)
            write_run(folder, {}, extra=records, environments={"m": make_environment()}, revision=make_revision(number))
        trend = only(history_of(tmp_path, metrics=["total_stall_ms"]).sheets).trend
        assert [point.median for point in trend.points] == [0.0, 0.0]
        assert trend.changes == ()


class TestChoice:
    def test_cells_of_the_loader_that_wait_by_default(self, tmp_path):
        at_once, other = fakes.make_cell("lazy", scenario="at_once"), fakes.make_cell("cached")
        write_run(tmp_path / "1", {PLAIN: 100, NUMPY: 100, LAZY: 100, at_once: 100, other: 100}, rounds=1)
        assert [sheet.trend.cell for sheet in history_of(tmp_path).sheets] == [other, LAZY]
        assert [sheet.trend.cell for sheet in history_of(tmp_path, cells="*/at_once").sheets] == [at_once]
        assert [sheet.trend.cell for sheet in history_of(tmp_path, cells="import*").sheets] == [NUMPY]

    def test_metrics(self, tmp_path):
        write_run(tmp_path / "1", {LAZY: 100}, rounds=1)
        sheets = history_of(tmp_path, metrics=["init_ms", "peak_mib", "results_ms", "init_ms"]).sheets
        assert [sheet.trend.metric.key for sheet in sheets] == ["init_ms", "peak_mib"]

    def test_cells_that_look_alike_have_files_of_their_own(self, tmp_path):
        twins = [fakes.make_cell("lazy", model=f"a/{name}") for name in ("x", "X", "ü", "y")]
        write_run(tmp_path / "1", dict.fromkeys(twins, 100), rounds=1)
        sheets = history_of(tmp_path).sheets
        assert len({sheet.file for sheet in sheets}) == len({sheet.title for sheet in sheets}) == 4
        assert all(re.fullmatch("[a-z0-9-]+", sheet.file) for sheet in sheets)


class TestOutput:
    @pytest.fixture
    def runs(self, tmp_path):
        for number in (1, 2, 3):
            cells = {LAZY: 100 if number < 3 else 130, PLAIN: 3000}
            write_run(tmp_path / "runs" / str(number), cells, seed=number, revision=make_revision(number))
        return tmp_path / "runs"

    def test_everything_is_there_and_always_the_same(self, runs, tmp_path, capsys):
        contents = []
        for name in ("x", "y"):
            words = [str(runs), "--output", str(tmp_path / name), "--metric", "total_ms", "--metric", "peak_mib"]
            assert call(main, words) == 0
            said = capsys.readouterr()
            assert said.err == ""
            assert "3 runs of 3 known commits in 1 group." in said.out
            assert "up" in said.out
            assert str(tmp_path / name / "history.md") in said.out.replace("\n", "")
            files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
            contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
        assert contents[0] == contents[1]
        plots = [
            f"plots/a-lazy-auto-minilm-cpu-idle-{key}.{kind}" for key in ("total", "peak") for kind in ("png", "svg")
        ]
        assert sorted(contents[0]) == sorted(["history.json", "history.md", *plots])

    def test_quiet(self, runs, tmp_path, capsys):
        assert call(main, [str(runs), "--output", str(tmp_path / "x"), "--quiet"]) == 0
        assert capsys.readouterr().out == f"Report: {tmp_path / 'x' / 'history.md'}\n"

    def test_the_data(self, runs, tmp_path):
        call(main, [str(runs), "--output", str(tmp_path / "x"), "--quiet"])
        data = json.loads((tmp_path / "x" / "history.json").read_text())
        group = only(data["groups"])
        assert [each["commit"][0] for each in group["positions"]] == ["1", "2", "3"]
        assert group["positions"][0]["committed_at"] == "2026-01-01T11:00:00+00:00"
        trend = only(group["series"])
        assert (trend["unit"], trend["reference"]["strategy"]) == ("ratio", BASELINE)
        assert [len(point["values"]) for point in trend["points"]] == [20, 20, 20]
        assert [change["mark"] for change in trend["changes"]] == ["none", "up"]
        assert (tmp_path / "x" / "plots" / f"{trend['picture']}.png").is_file()

    def test_pictures_of_the_page_are_there(self, runs, tmp_path):
        call(main, [str(runs), "--output", str(tmp_path / "x"), "--quiet"])
        page = (tmp_path / "x" / "history.md").read_text()
        targets = re.findall(r"!\[.*\]\((.*)\)", page)
        assert targets
        assert all((tmp_path / "x" / target).is_file() for target in targets)

    def test_a_place_that_cannot_be_written(self, runs, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert call(main, [str(runs), "--output", str(tmp_path / "file")]) == 2
        assert capsys.readouterr().err.startswith("error: ")

    @pytest.mark.parametrize(
        "words", [["--metric", "nonsense"], ["--last", "0"], ["--last", "x"], ["--tolerance", "nan"]]
    )
    def test_wrong_options(self, words, capsys):
        with pytest.raises(SystemExit) as ended:
            call(main, ["somewhere", *words])
        assert ended.value.code == 2

    def test_subjects_cannot_become_markup(self, tmp_path):
        hostile = "a | b <script> [x](y) `z` $q$ \x1b[31m\u202e\nsecond"
        write_run(tmp_path / "1", {LAZY: 100}, rounds=1, revision=make_revision(1, subject=hostile))
        history = history_of(tmp_path)
        assert "\x1b" not in "".join(sheet_table(only(history.sheets)).rows[0])
        tokens = MarkdownIt("commonmark").enable("table").parse(render(to_document(history)))
        cells = [token.children for token in tokens if token.type == "inline" and "script" in token.content]
        assert [child.type for child in only(cells)] == ["text"] * len(only(cells))
        assert "".join(child.content for child in only(cells)).startswith("a | b <script> [x](y) `z` $q$")


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["|", "$x$", "$", "<b>", "a\nb", "\x00\x1b[2J", "`", "../..", "_", "日本", "{}", "\\", ""]
)
times = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)) | st.none()


@st.composite
def run_lists(draw_from):
    """Return runs with failures, missing metrics, few samples and hostile names."""
    cells = [fakes.make_cell(draw_from(texts), model_key=draw_from(texts)), LAZY, NUMPY]
    runs = []
    for number in range(draw_from(st.integers(1, 5))):
        records = []
        for cell in draw_from(st.lists(st.sampled_from(cells), min_size=1, max_size=3, unique=True)):
            for round_number in range(draw_from(st.sampled_from([1, 2, 7, 12]))):
                total = draw_from(st.sampled_from([0.0, 1e-6, 50.0, 51.0, 1e6]))
                changes = {"marks_ns": {}} if draw_from(st.booleans()) and round_number == 0 else {}
                status = draw_from(st.sampled_from(["ok"] * 5 + ["failed"]))
                records.append(fakes.make_record(cell, round_number, total, status=status, **changes))
        at = draw_from(times)
        revision = draw_from(
            st.none()
            | st.fixed_dictionaries(
                {
                    "commit": st.sampled_from(["a" * 40, "b" * 40, "c" * 64, "no commit"]),
                    "committed_at": st.just(at.isoformat()) if at else st.none(),
                    "dirty": st.booleans() | st.none(),
                    "subject": texts,
                }
            )
            | st.just({})
        )
        manifest = {
            "run": f"run{number}",
            "machine": "m",
            "environments": {"": make_environment(processor=draw_from(st.sampled_from(["one", "two $ |"])))},
            "revision": revision,
        }
        runs.append((draw_from(texts), manifest, records))
    return runs


@settings(max_examples=40, deadline=None)
@given(run_lists(), st.booleans())
def test_whatever_the_runs_are_there_is_a_page(tmp_path_factory, runs, absolute):
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for number, (name, manifest, records) in enumerate(runs):
        place = folder / str(number)
        place.mkdir()
        write_manifest(place / "manifest.json", manifest)
        for record in records:
            append_record(place / "records.jsonl", record)
        found += read_runs(place, name)
    groups = group_runs(found)
    assert sorted(run.run for group in groups for run in group.runs) == sorted(run.run for run in found)
    try:
        history = make_history(groups, Criteria(), (), cells="*", absolute=absolute)
    except ConfigError:
        counted = [r for run in found for r in run.records]
        assert not any("first_embedding" in record.marks_ns for record in counted)
        return
    page = render(to_document(history))
    assert page.isprintable() or set(page) - {"\n"} == {letter for letter in page if letter.isprintable()}
    tables = [token for token in MarkdownIt("commonmark").enable("table").parse(page) if token.type == "tbody_open"]
    assert len(tables) == len(history.sheets)
    sheet = history.sheets[-1]
    save(draw(sheet, 0.03), folder, "picture")
    assert (folder / "picture.png").stat().st_size > 0


@given(st.text())
def test_text_from_outside_stays_on_its_line(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text() | st.none() | st.integers() | st.datetimes().map(datetime.datetime.isoformat))
def test_a_time_is_one_or_none(text):
    time = to_time(text)
    assert time is None or time.utcoffset() == datetime.timedelta(0)


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12), st.randoms())
def test_the_order_does_not_depend_on_that_of_finding(runs, random):
    first = HistoryRun("", "", "m", environment_of(make_environment()), {}, "", None, None, (), {})
    made = []
    for number, (commit, dirty) in enumerate(runs):
        manifest = make_revision(commit, dirty=dirty)
        time = to_time(manifest["committed_at"])
        revision = MeasuredRevision(manifest["commit"], time, dirty, "")
        made.append(replace(first, name=f"{number:02d}", revision=revision))
    shuffled = list(made)
    random.shuffle(shuffled)
    groups = group_runs(made)
    assert group_runs(shuffled) == groups
    group = only(groups)
    assert [position.time for position in group.positions] == sorted(position.time for position in group.positions)
    clean = [position.revision.commit for position in group.positions if not position.revision.dirty]
    assert len(clean) == len(set(clean))


def test_a_position_without_anything_has_a_name():
    assert Position(None, None, ()).name == "?"


def test_a_trend_of_nothing_is_none(tmp_path):
    write_run(tmp_path / "1", {LAZY: 100}, rounds=1)
    group = only(group_runs(find_runs([tmp_path]).runs))
    assert make_trend(group, PLAIN, None, Criteria(), absolute=False) is None
