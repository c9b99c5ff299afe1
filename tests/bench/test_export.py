"""Exports: what other tools read is what the records say, and no name can break it."""

import datetime
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_benchmark.logger import Logger
from pytest_benchmark.plugin import pytest_benchmark_group_stats
from pytest_benchmark.stats import Stats
from pytest_benchmark.storage.file import FileStorage

from bench.data.merging import merge
from bench.data.metrics import METRICS, METRICS_BY_KEY
from bench.data.records import STATUSES, append_record
from bench.errors import RecordError
from bench.export import FORMATS, parse_words, to_text
from bench.plan.cell import BASELINE
from bench.stats.context import load_context
from bench.stats.series import SECONDS, cell_names, collect_series
from tests.bench.support import fakes
from tests.bench.support.manifests import write_manifest
from tests.conftest import ROOT

ENVIRONMENT = {
    "system": "Linux 6.1",
    "machine": "x86_64",
    "processor": "Some CPU",
    "processors_usable": 2,
    "python": "CPython 3.11.7",
}
HOSTILE = 'a "quoted"\n<b>name</b> | `it` \\ \u2028 \ud800 é'
PYTEST, DASHBOARD = (form.name for form in FORMATS)


def write_run(folder, records, *, machines=("m1",), **changes):
    folder.mkdir(parents=True, exist_ok=True)
    cells = list(dict.fromkeys(record.cell for record in records))
    manifest = {
        "run": "r1",
        "machine": machines[0],
        "environments": {name: ENVIRONMENT | {"processor": f"CPU of {name}"} for name in machines},
        "cells": [cell.to_json() for cell in cells],
    }
    write_manifest(folder / "manifest.json", manifest | changes)
    (folder / "records.jsonl").touch()
    for record in records:
        append_record(folder / "records.jsonl", record)
    return folder


def rounds(cell, *totals_ms, **changes):
    changes = {"run": "r1", "machine": "m1"} | changes
    return [fakes.make_record(cell, number, total, **changes) for number, total in enumerate(totals_ms)]


def exported(folder, name, *keys):
    """What the format makes of a run, parsed again by a strict parser."""
    form = next(form for form in FORMATS if form.name == name)
    context = load_context(folder)
    found = collect_series(context, [METRICS_BY_KEY[key] for key in keys], only_times=form.only_times)
    return json.loads(to_text(form.make(context, found.series)), parse_constant=pytest.fail), found.left_out


@pytest.fixture
def call(python):
    def run(*words):
        return python(None, "-m", "bench.export", *words, env={"PYTHONPATH": str(ROOT)})

    return run


TOTALS = (100.0, 104.0, 96.0, 120.0, 101.0, 99.0, 100.5)


class TestForPytestBenchmark:
    def test_fields_and_statistics(self, tmp_path):
        warmup = fakes.make_record(fakes.make_cell(), 9, 900.0, is_warmup=True, run="r1", machine="m1")
        write_run(tmp_path / "run", [warmup, *rounds(fakes.make_cell(), *TOTALS)])
        made, left_out = exported(tmp_path / "run", PYTEST)
        (benchmark,) = made["benchmarks"]
        assert left_out == ()
        assert benchmark["name"] == benchmark["param"] == "lazy/auto/minilm/cpu/idle"
        assert benchmark["fullname"] == "total_ms::lazy/auto/minilm/cpu/idle"
        assert benchmark["group"] == "total_ms"
        assert benchmark["params"]["strategy"] == "lazy"
        assert benchmark["extra_info"]["machine"] == "machine A: CPU of m1, Linux 6.1, CPython 3.11.7"
        assert benchmark["options"]["warmup"] is True
        seconds = [total / 1000 for total in TOTALS]
        stats = benchmark["stats"]
        assert stats["data"] == pytest.approx(seconds)
        assert stats["median"] == pytest.approx(statistics.median(seconds))
        assert stats["stddev"] == pytest.approx(statistics.stdev(seconds))
        assert (stats["rounds"], stats["iterations"]) == (7, 1)
        assert set(stats) == {*Stats.fields, "data", "iterations"}
        assert datetime.datetime.fromisoformat(made["datetime"]).year == 2026

    def test_it_has_what_the_tool_itself_writes(self, python, tmp_path):
        (tmp_path / "test_a.py").write_text("def test_a(benchmark): benchmark(int)")
        words = ("--benchmark-json=own.json", "--benchmark-min-time=0.00001", "--benchmark-max-time=0.01")
        assert python(None, "-m", "pytest", "-q", *words).code == 0
        own = json.loads((tmp_path / "own.json").read_text())
        made, _ = exported(write_run(tmp_path / "run", rounds(fakes.make_cell(), *TOTALS)), PYTEST)
        assert set(made) == set(own)
        assert made["version"] == own["version"]
        assert set(made["machine_info"]) == set(own["machine_info"])
        assert set(made["commit_info"]) == set(own["commit_info"]) - {"error"}
        assert set(made["benchmarks"][0]) == set(own["benchmarks"][0])
        assert set(made["benchmarks"][0]["stats"]) == set(own["benchmarks"][0]["stats"])

    def test_seconds_stay_seconds(self, tmp_path):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 100.0, 100.0))
        made, _ = exported(tmp_path / "run", PYTEST, "cpu_s", "total_ms")
        assert {item["group"]: item["stats"]["median"] for item in made["benchmarks"]} == {
            "cpu_s": 0.5,
            "total_ms": 0.1,
        }

    def test_a_cell_that_is_judged_by_its_memory_is_left_out(self, tmp_path):
        together = fakes.make_cell(scenario="concurrent", processes=8)
        records = [*rounds(together, 100.0, memory={"together": {"pss_bytes": 2**20}}), *rounds(fakes.make_cell(), 1.0)]
        made, left_out = exported(write_run(tmp_path / "run", records), PYTEST)
        assert [item["param"] for item in made["benchmarks"]] == ["lazy/auto/minilm/cpu/idle"]
        assert "together_mib is not a time" in left_out[0]
        made, left_out = exported(tmp_path / "run", DASHBOARD)
        assert [(item["unit"], item["value"]) for item in made] == [("MiB", 1.0), ("ms", 1.0)]

    def test_the_machine_has_no_name(self, tmp_path):
        records = [*rounds(fakes.make_cell(), 1.0), *rounds(fakes.make_cell(), 2.0, machine="m2")]
        made, _ = exported(write_run(tmp_path / "run", records, machines=("m1", "m2")), PYTEST)
        info = made["machine_info"]
        assert (info["node"], info["processor"], info["system"]) == ("machine A, machine B", "several", "Linux")
        assert (info["python_implementation"], info["python_version"]) == ("CPython", "3.11.7")
        assert [item["name"] for item in made["benchmarks"]] == [
            "lazy/auto/minilm/cpu/idle, machine A",
            "lazy/auto/minilm/cpu/idle, machine B",
        ]


COMMIT = "0123456789abcdef" * 2 + "01234567"
REVISION = {"commit": COMMIT, "committed_at": "2026-01-02T03:04:05+02:00", "dirty": False, "subject": "Faster"}
UNKNOWN = {
    "id": "unknown",
    "time": None,
    "author_time": None,
    "dirty": None,
    "project": "optimized-embedding-loader",
    "branch": "(unknown)",
}


class TestTheMeasuredCommit:
    def commit_info(self, folder, **changes):
        return exported(write_run(folder, rounds(fakes.make_cell(), 1.0), **changes), PYTEST)[0]["commit_info"]

    def extra(self, folder, **changes):
        ((entry,), _) = exported(write_run(folder, rounds(fakes.make_cell(), 1.0), **changes), DASHBOARD)
        return entry["extra"].splitlines()

    @pytest.mark.parametrize("dirty", [False, True, None])
    def test_it_is_the_one_of_the_manifest(self, tmp_path, dirty):
        assert self.commit_info(tmp_path, revision=REVISION | {"dirty": dirty}) == UNKNOWN | {
            "id": COMMIT,
            "time": "2026-01-02T01:04:05+00:00",
            "dirty": dirty,
        }

    @pytest.mark.parametrize("revision", [None, {}, {"commit": None}, {"commit": "main"}])
    def test_a_run_that_did_not_record_one(self, tmp_path, revision):
        assert self.commit_info(tmp_path, revision=revision) == UNKNOWN
        assert len(self.extra(tmp_path, revision=revision)) == 2
        assert "commit" not in str(self.extra(tmp_path, revision=revision))

    def test_the_arm_of_a_gate_may_be_of_another_project(self, tmp_path):
        revision = {"asked": "HEAD", "commit": COMMIT, "committed_at": "", "subject": "Faster"}
        made = self.commit_info(tmp_path, revision=revision, gate="g", arm="head")
        assert made == UNKNOWN | {"id": COMMIT, "dirty": False, "project": "unknown"}

    def test_dashboards_show_it(self, tmp_path):
        assert self.extra(tmp_path, revision=REVISION)[2:] == [f"commit: {COMMIT}"]
        dirty = self.extra(tmp_path, revision=REVISION | {"dirty": True})
        assert dirty[2:] == [f"commit: {COMMIT}, with uncommitted changes"]

    @pytest.mark.parametrize(("others", "expected"), [(COMMIT, COMMIT), ("f" * 40, "unknown")])
    def test_merged_runs_have_it_if_all_measured_the_same(self, tmp_path, others, expected):
        shared = {"command": "", "variables": {}, "protocol": {}, "jobs": [], "preparations": [], "models": {}}
        for name, commit in (("a", COMMIT), ("b", others)):
            records = rounds(fakes.make_cell(), 1.0, run=name)
            write_run(tmp_path / name, records, run=name, revision=REVISION | {"commit": commit}, **shared)
        folder = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
        assert exported(folder, PYTEST)[0]["commit_info"]["id"] == expected


class TestForDashboards:
    def test_median_and_half_of_its_interval(self, tmp_path):
        made, _ = exported(write_run(tmp_path / "run", rounds(fakes.make_cell(), *TOTALS)), DASHBOARD)
        assert made == [
            {
                "name": "lazy/auto/minilm/cpu/idle total_ms",
                "unit": "ms",
                "value": 100.5,
                "range": "± 12.00",
                "extra": "n: 7\nmachine A: CPU of m1, Linux 6.1, CPython 3.11.7",
            }
        ]

    def test_few_samples_have_no_interval(self, tmp_path):
        made, _ = exported(write_run(tmp_path / "run", rounds(fakes.make_cell(), 5.0)), DASHBOARD, "peak_mib")
        assert [(item["value"], item["unit"], "range" in item) for item in made] == [(60.0, "MiB", False)]

    def test_smaller_is_better_for_every_metric(self):
        assert all(metric.lower_is_better for metric in METRICS), "the tool is told so for all of them"


class TestNames:
    def test_they_do_not_depend_on_the_other_cells(self, tmp_path):
        alone = write_run(tmp_path / "a", rounds(fakes.make_cell(), 1.0))
        cells = [fakes.make_cell(BASELINE), fakes.make_cell(), fakes.make_cell(model="org/b", model_key="b")]
        among = write_run(tmp_path / "b", [record for cell in cells for record in rounds(cell, 1.0)])
        assert set(cell_names(load_context(alone))) < set(cell_names(load_context(among)))

    def test_models_that_share_a_key_are_told_apart_without_their_paths(self, tmp_path):
        names = ("org/one", "/home/somebody/one", "/home/somebody/two")
        records = [record for name in names for record in rounds(fakes.make_cell(model=name), 1.0)]
        folder = write_run(tmp_path / "run", records)
        label = "lazy/auto/minilm/cpu/idle"
        assert cell_names(load_context(folder)) == [f"{label}, one", f"{label}, one (2)", f"{label}, two"]
        for form in FORMATS:
            assert "somebody" not in json.dumps(exported(folder, form.name)[0])


KEYS = sorted(METRICS_BY_KEY)
MARKS = sorted({*fakes.make_answer(ready=True)["marks_ns"]} | {"spawn", "exit", "results"})
NAMES = st.text(max_size=12) | st.sampled_from([HOSTILE, "a", "a/b"])
A_RECORD = st.builds(
    fakes.make_record,
    st.builds(
        fakes.make_cell,
        NAMES,
        model_key=NAMES,
        model=NAMES,
        scenario=st.sampled_from(["idle", "search_command", "concurrent"]),
        threads=st.none() | st.integers(1, 4),
    ),
    st.integers(0, 5),
    status=st.sampled_from(["ok", *STATUSES]),
    message=NAMES,
    is_warmup=st.booleans(),
    machine=st.sampled_from(["m1", "m2"]),
    started_at=st.just("2026-01-01T00:00:00.000+00:00") | NAMES,
    marks_ns=st.dictionaries(st.sampled_from(MARKS), st.integers(0, 10**13)),
    memory=st.dictionaries(
        st.sampled_from(["steady", "together"]),
        st.dictionaries(st.sampled_from(["peak_rss_bytes", "pss_bytes"]), st.integers(0, 2**45)),
    ),
    cpu_s=st.none() | st.floats(0, 1e9),
    facts=st.just({}),
    instrument=st.sampled_from(["", "", "memray"]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(A_RECORD, max_size=8), st.lists(st.sampled_from(KEYS), max_size=3, unique=True), st.data())
def test_whatever_the_records_are_the_tools_can_read_it(records, keys, data):
    root = Path(tempfile.mkdtemp())
    try:
        machines = data.draw(st.sampled_from([("m1", "m2"), ("m2", "m1")]))
        folder = write_run(root / "run", records, machines=machines)
        entries, left_out = exported(folder, DASHBOARD, *keys)
        context = load_context(folder)
        assert len(entries) + len(left_out) == len(context.summaries) * (len(keys) or 1)
        assert len({entry["name"] for entry in entries}) == len(entries)

        times = [key for key in keys if METRICS_BY_KEY[key].unit in SECONDS]
        if keys and not times:
            return
        made, _ = exported(folder, PYTEST, *times)
        (root / "saved.json").write_text(json.dumps(made))
        loaded = list(FileStorage(str(root / "storage"), logger=Strict()).load_benchmarks(str(root / "saved.json")))
        assert [item["fullname"] for item in loaded] == [item["fullname"] for item in made["benchmarks"]]
        assert len({item["fullname"] for item in loaded}) == len(loaded)
        groups = pytest_benchmark_group_stats(None, loaded, "group")
        assert {group for group, _ in groups} == {item["group"] for item in made["benchmarks"]}
    finally:
        shutil.rmtree(root)


class Strict(Logger):
    """Where the tool complains about a file that it cannot read, and goes on."""

    def __init__(self):
        super().__init__(Logger.QUIET)

    def warning(self, text, *_args, **_more):
        pytest.fail(text)


class TestDamage:
    @pytest.mark.parametrize(
        "changes",
        [
            {"environments": {}},
            {"environments": []},
            {"environments": {"m1": "a text"}},
            {"cells": [{}]},
            {"cells": None},
            {"cells": [5]},
        ],
    )
    def test_a_manifest_that_does_not_fit_is_refused(self, tmp_path, changes):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1.0), **changes)
        with pytest.raises(RecordError, match="is damaged"):
            load_context(tmp_path / "run")

    @pytest.mark.parametrize("garbage", [b"\xff\xfe\n", b"nonsense\n", b'{"schema": 99}\n'])
    def test_records_that_are_none_are_refused(self, tmp_path, garbage):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1.0))
        (tmp_path / "run" / "records.jsonl").write_bytes(garbage)
        with pytest.raises(RecordError):
            load_context(tmp_path / "run")

    def test_figures_that_json_cannot_hold(self):
        with pytest.raises(RecordError, match="JSON cannot hold"):
            to_text([float("inf")])


class TestTheCommand:
    def test_the_tool_compares_what_it_wrote(self, call, python, tmp_path):
        cells = (fakes.make_cell(HOSTILE), fakes.make_cell("quantized"))
        write_run(tmp_path / "run", [record for cell in cells for record in rounds(cell, *TOTALS)])
        done = call("run", "--format", PYTEST, "--output", "saved.json")
        assert (done.code, done.out, done.err) == (0, "", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "saved.json"]
        shutil.copy(tmp_path / "saved.json", tmp_path / "other.json")
        compared = python(None, "-m", "pytest_benchmark", "compare", "saved.json")
        assert compared.code == 0, compared.err
        assert "benchmark 'total_ms': 2 tests" in compared.out
        assert "quantized/auto/minilm/cpu/idle" in compared.out
        between = ("--between=median", "saved.json", "other.json")
        compared = python(None, "-m", "pytest_benchmark", "compare", *between)
        assert compared.code == 0, compared.err
        assert "+0.0%" in compared.out

    @pytest.mark.parametrize(("total_ms", "code"), [(1e-6, 1), (1e9, 0)])
    def test_pytest_compares_with_it_and_fails(self, call, python, tmp_path, total_ms, code):
        """Not by timing: the saved run was either far faster or far slower than any test can be."""
        write_run(tmp_path / "run", rounds(fakes.make_cell(), total_ms, total_ms))
        assert call("run", "--format", PYTEST, "--output", "saved.json").code == 0
        saved = json.loads((tmp_path / "saved.json").read_text())
        saved["benchmarks"][0]["fullname"] = "test_a.py::test_a"
        (tmp_path / "saved.json").write_text(json.dumps(saved))
        (tmp_path / "test_a.py").write_text("def test_a(benchmark): benchmark.pedantic(sum, ([1, 2],), rounds=3)")
        words = ("--benchmark-compare=saved.json", "--benchmark-compare-fail=median:10%")
        done = python(None, "-m", "pytest", "-p", "no:cacheprovider", *words)
        assert (done.code != 0) == bool(code), done.out + done.err
        assert ("Performance has regressed" in done.out + done.err) == bool(code)

    def test_the_names_of_cells_are_no_tests(self, call, python, tmp_path):
        """So an export that nobody renamed is accepted, and nothing of it is compared."""
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1e-6))
        assert call("run", "--format", PYTEST, "--output", "saved.json").code == 0
        (tmp_path / "test_a.py").write_text("def test_a(benchmark): benchmark.pedantic(sum, ([1, 2],), rounds=3)")
        words = ("--benchmark-compare=saved.json", "--benchmark-compare-fail=median:10%")
        assert python(None, "-m", "pytest", "-p", "no:cacheprovider", *words).code == 0

    def test_what_has_no_sample_is_told(self, call, tmp_path):
        failed = rounds(fakes.make_cell("quantized"), 1.0, 1.0, status="failed", message="no weights")
        write_run(tmp_path / "run", [*rounds(fakes.make_cell(), 1.0), *failed])
        done = call("run", "--format", DASHBOARD)
        assert done.code == 0
        assert [entry["name"] for entry in json.loads(done.out)] == ["lazy/auto/minilm/cpu/idle total_ms"]
        assert done.err == "left out: quantized/auto/minilm/cpu/idle: no counted sample has total_ms (2 failed)\n"

    def test_a_run_without_samples(self, call, tmp_path):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1.0, status="failed"))
        done = call("run", "--format", PYTEST, "--output", "saved.json")
        assert done.code == 1
        assert done.err.endswith("error: run has no sample to export\n")
        assert not (tmp_path / "saved.json").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ("run", "--format", PYTEST, "--metric", "peak_mib"),
                "pytest-benchmark holds only times, and peak_mib is not a time",
            ),
            (("run", "--format", PYTEST, "--metric", "nonsense"), "choose from"),
            (("run", "--format", "csv"), "choose from"),
            (("run",), "--format"),
            (("nowhere", "--format", PYTEST), "nowhere/manifest.json cannot be read"),
            (("run", "--format", PYTEST, "--output", "no/such/folder/a.json"), "No such file or directory"),
        ],
    )
    def test_what_is_wrong_is_said(self, call, tmp_path, words, message):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1.0))
        done = call(*words)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert "Traceback" not in done.err

    def test_metrics_add_up(self):
        asked = parse_words(["run", "--format", PYTEST, "--metric", "total_ms", "cpu_s", "--metric", "init_ms"])
        assert asked.metric == ["total_ms", "cpu_s", "init_ms"]

    def test_without_the_tool_it_names_the_extra(self, python, tmp_path):
        write_run(tmp_path / "run", rounds(fakes.make_cell(), 1.0))
        code = f"""
import runpy, sys
sys.modules["pytest_benchmark"] = None
sys.argv = ["bench.export", "run", "--format", {PYTEST!r}]
runpy.run_module("bench.export", run_name="__main__")
"""
        done = python(code, env={"PYTHONPATH": str(ROOT)})
        assert done.code == 2
        assert "optimized-embedding-loader[bench]" in done.err


@pytest.mark.parametrize("name", ["reference/full", "reference/concurrent", "specification"])
def test_the_published_runs_can_be_exported(name):
    for form in FORMATS:
        made, _ = exported(ROOT / "reports" / name, form.name)
        assert str(Path.home()) not in json.dumps(made)
