"""Runs over commits: which are found, and what is chosen of them."""

import json
import os
import re
from pathlib import Path

import pytest

from bench.data.merging import merge
from bench.errors import ConfigError, RecordError
from bench.history.__main__ import main
from bench.history.find import find_runs
from bench.history.page import to_document
from bench.report.markdown import render
from tests.bench.compare.runs import PROTOCOL, make_environment, write_run
from tests.bench.history.runs import LAZY, NUMPY, PLAIN, STILL, history_of, make_revision, only
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import write_manifest
from tests.conftest import ROOT


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
