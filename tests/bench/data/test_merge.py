"""Merging runs: nothing twice, nothing lost, nothing together that was measured differently."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.fields import to_json
from bench.data.manifest import read_manifest
from bench.data.manifest_parts import Preparation
from bench.data.merging import merge
from bench.data.records import append_record, read_records
from bench.errors import ConfigError, RecordError
from bench.plan.cell import BASELINE
from tests.bench.support import fakes
from tests.bench.support.manifests import write_manifest
from tests.conftest import ROOT

ENVIRONMENT = {
    "system": "Linux 6",
    "machine": "x86_64",
    "processor": "one",
    "processors_usable": 2,
    "memory_bytes": 2**33,
    "python": "CPython 3.11",
    "packages": {},
    "load_average_1min": 0.1,
}
PROTOCOL = {
    "name": "quick",
    "warmup_rounds": 1,
    "rounds": 3,
    "budget_s": 150.0,
    "sample_timeout_s": 60.0,
    "max_steal": 0.05,
    "max_foreign_cpu": 0.15,
}
CELLS = (fakes.make_cell(BASELINE), fakes.make_cell("lazy"), fakes.make_cell("progressive"))


def make_manifest(run="r1", machine="m1", cells=CELLS[:2], **changes):
    fields = {
        "run": run,
        "machine": machine,
        "environments": {machine: ENVIRONMENT | {"processor": machine}},
        "command": f"python -m bench seed={run}",
        "variables": {"HF_HUB_OFFLINE": "1"},
        "protocol": PROTOCOL,
        "seed": 1,
        "suite": "none",
        "jobs": [{"suite": {"name": "none"}, "run_name": run}],
        "cells": [cell.to_json() for cell in cells],
        "preparations": [],
        "models": {"org/minilm": "path"},
    }
    return fields | changes


def write_run(folder, records=None, **manifest):
    folder.mkdir(parents=True)
    made = make_manifest(**manifest)
    write_manifest(folder / "manifest.json", made)
    (folder / "records.jsonl").touch()
    if records is None:
        records = [(cell, number) for number in range(3) for cell in CELLS[:2]]
    for cell, number in records:
        record = fakes.make_record(cell, number, run=made["run"], machine=made["machine"])
        append_record(folder / "records.jsonl", record)
    return folder


def test_runs_of_two_machines_become_one(tmp_path):
    quick = write_run(tmp_path / "a")
    other = {"run": "r2", "machine": "m2", "cells": CELLS, "models": {"org/minilm": "hub cache"}}
    slow = write_run(tmp_path / "b", preparations=[{"model": "org/minilm", "seconds": 2.0}], **other)
    folder = merge([quick, slow], tmp_path / "deep" / "merged")
    assert read_records(folder / "records.jsonl") == [
        *read_records(quick / "records.jsonl"),
        *read_records(slow / "records.jsonl"),
    ]
    manifest = read_manifest(folder / "manifest.json")
    assert (manifest.run, manifest.machine) == (None, None)
    assert list(manifest.environments) == ["m1", "m2"]
    assert manifest.cells == CELLS
    assert manifest.preparations == (Preparation("org/minilm", seconds=2.0, machine="m2"),)
    assert manifest.models == {"org/minilm": "path; hub cache"}
    assert [job["run_name"] for job in manifest.jobs] == ["r1", "r2"]
    assert manifest.command.splitlines() == ["python -m bench seed=r1", "python -m bench seed=r2"]
    assert [(run.run, run.machine) for run in manifest.merged] == [("r1", "m1"), ("r2", "m2")]
    assert to_json(manifest.protocol) == PROTOCOL
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "records.jsonl"]


def test_what_the_runs_do_not_share_stands_with_each(tmp_path):
    more = PROTOCOL | {"name": "thorough", "rounds": 30}
    first = write_run(tmp_path / "a")
    variables = {"HF_HUB_OFFLINE": "1", "A": "b"}
    second = write_run(tmp_path / "b", run="r2", machine="m2", protocol=more, variables=variables)
    manifest = read_manifest(merge([first, second], tmp_path / "c") / "manifest.json")
    assert manifest.protocol is None
    assert manifest.variables == {"HF_HUB_OFFLINE": "1"}
    assert [run.protocol.rounds for run in manifest.merged] == [3, 30]


def test_two_runs_of_one_machine_keep_its_fingerprint(tmp_path):
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", run="r2")]
    manifest = read_manifest(merge(folders, tmp_path / "c") / "manifest.json")
    assert manifest.machine == "m1"


RUNS = st.dictionaries(
    st.sampled_from(["r1", "r2", "r3", "r4"]),
    st.tuples(
        st.sampled_from(["m1", "m2"]),
        st.lists(st.tuples(st.sampled_from(CELLS), st.integers(0, 3)), max_size=6, unique=True),
    ),
    min_size=1,
)


@settings(deadline=None, max_examples=40)
@given(RUNS, st.randoms(use_true_random=False))
def test_nothing_is_lost_or_there_twice(runs, chance):
    root = Path(tempfile.mkdtemp())
    try:
        folders = [write_run(root / run, records, run=run, machine=machine) for run, (machine, records) in runs.items()]
        alone = [record for folder in folders for record in read_records(folder / "records.jsonl")]
        merged = merge(folders, root / "merged")
        assert read_records(merged / "records.jsonl") == alone
        keys = [record.key for record in alone]
        assert len(set(keys)) == len(keys)

        again = merge([merged, *folders, *folders], root / "again")
        for name in ("records.jsonl", "manifest.json"):
            assert (again / name).read_bytes() == (merged / name).read_bytes()

        shuffled = chance.sample(folders, len(folders))
        parts = [shuffled[:1], shuffled[1:]] if len(shuffled) > 1 else [shuffled]
        other = merge([merge(part, root / f"part{number}") for number, part in enumerate(parts)], root / "other")
        assert sorted((other / "records.jsonl").read_text().splitlines()) == sorted(
            (merged / "records.jsonl").read_text().splitlines()
        )
        manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (merged, other)]
        for name in ("merged", "cells", "jobs"):
            one, two = (sorted(json.dumps(item, sort_keys=True) for item in manifest[name]) for manifest in manifests)
            assert one == two
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": PROTOCOL | {"sample_timeout_s": 5.0}}, "b was measured with protocol.sample_timeout_s 5.0"),
        ({"protocol": PROTOCOL | {"max_steal": 0.5}}, "protocol.max_steal 0.5"),
        ({"variables": {"HF_HUB_OFFLINE": "0"}}, "the variable HF_HUB_OFFLINE on machine m1 0"),
        ({"jobs": [{"suite": {"name": "quality"}}]}, "b is a run of suite=quality"),
        ({"run": ""}, "b comes from a version that did not identify runs"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path, changes, message):
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", **{"run": "r2", **changes})]
    with pytest.raises(ConfigError, match=message):
        merge(folders, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_another_machine_may_have_other_variables(tmp_path):
    other = write_run(tmp_path / "b", run="r2", machine="m2", variables={"HF_HUB_OFFLINE": "0"})
    assert merge([write_run(tmp_path / "a"), other], tmp_path / "c").is_dir()


def test_copies_of_a_run_that_went_on_apart_are_refused(tmp_path):
    first = write_run(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    append_record(first / "records.jsonl", fakes.make_record(CELLS[1], 7, 100.0, run="r1", machine="m1"))
    append_record(second / "records.jsonl", fakes.make_record(CELLS[1], 7, 200.0, run="r1", machine="m1"))
    with pytest.raises(ConfigError, match="copies that diverged"):
        merge([first, second], tmp_path / "c")


def test_a_copy_that_goes_further_completes_the_other(tmp_path):
    first = write_run(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    append_record(second / "records.jsonl", fakes.make_record(CELLS[1], 7, run="r1", machine="m1"))
    folder = merge([first, second], tmp_path / "c")
    assert (folder / "records.jsonl").read_bytes() == (second / "records.jsonl").read_bytes()


def damaged(folder, name, content):
    (folder / name).write_text(content, errors="surrogateescape")
    return folder


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "nowhere",
        lambda folder: damaged(write_run(folder / "a"), "manifest.json", "{"),
        lambda folder: damaged(write_run(folder / "a"), "manifest.json", '{"schema": 2, "run": "r1"}'),
        lambda folder: damaged(write_run(folder / "a"), "manifest.json", '{"schema": 99}'),
        lambda folder: damaged(write_run(folder / "a"), "manifest.json", '{"schema": 2, "jobs": ["odd"]}'),
        lambda folder: damaged(write_run(folder / "a"), "records.jsonl", "\udc80\n"),
        lambda folder: damaged(write_run(folder / "a"), "records.jsonl", "nonsense\n"),
    ],
)
def test_what_is_no_run_is_named(tmp_path, make):
    folder = make(tmp_path)
    with pytest.raises(RecordError, match=r"(a|nowhere)(/manifest\.json| is damaged)"):
        merge([folder], tmp_path / "c")


def test_a_run_is_never_overwritten(tmp_path):
    first = write_run(tmp_path / "a")
    before = (first / "records.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        merge([write_run(tmp_path / "b", run="r2")], first)
    assert (first / "records.jsonl").read_bytes() == before


class TestTheCommand:
    @pytest.fixture
    def call(self, python, tmp_path):
        write_run(tmp_path / "a")
        write_run(tmp_path / "b", run="r2", machine="m2")
        environ = {"PYTHONPATH": str(ROOT)}
        return lambda *words: python(None, "-m", "bench.merge", *words, env=environ)

    def test_it_reports_the_merged_run(self, call, tmp_path):
        done = call("a", "b", "--output", "c", "--quiet")
        assert (done.code, done.err, done.out) == (0, "", "Report: c/report.md\n")
        report = (tmp_path / "c" / "report.md").read_text()
        assert "m1" in report
        assert "m2" in report
        assert "python -m bench seed=r1\npython -m bench seed=r2" in report

    def test_machines_can_be_required_to_be_the_same(self, call, tmp_path):
        done = call("a", "b", "--output", "c", "--require-same-machine")
        assert (done.code, done.out) == (3, "")
        assert "runs of 2 machines cannot be compared: m1, m2" in done.err
        assert not (tmp_path / "c").exists()
        assert call("a", "a", "--output", "c", "--require-same-machine", "--quiet").code == 0

    def test_what_is_wrong_is_said(self, call):
        done = call("a", "nowhere", "--output", "c")
        assert done.code == 2
        assert done.err.startswith("error: nowhere/manifest.json cannot be read")
        assert "Traceback" not in done.err
