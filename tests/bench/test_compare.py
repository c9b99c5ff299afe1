"""Comparing two runs: what is compared with what, what is said, and what is refused."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.compare.__main__ import load_comparable, main
from bench.data.conditions import match_machines
from bench.data.environment import PROJECT
from bench.data.manifest import Manifest
from bench.data.merging import merge
from bench.data.records import append_record
from bench.errors import BenchError, IncomparableError, RecordError
from bench.measure.machine import PACKAGES, describe_environment
from bench.plan.cell import BASELINE
from bench.stats.comparison import Criteria, compare, rounds_needed_for
from bench.stats.shifts import Shift
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import environment_of, fingerprint, manifest_of, write_manifest
from tests.conftest import ROOT

NEGLIGIBLE = 1e-6
"""Probability that a simulation of a right implementation fails, had its seed been another one."""

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell(BASELINE)
NUMPY = fakes.make_cell("import_numpy", subject="import_numpy", engine="")
PROTOCOL = {"sample_timeout_s": 60.0, "max_steal": 0.05, "max_foreign_cpu": 0.15}
ENVIRONMENT = {
    "system": "Linux 6",
    "machine": "x86_64",
    "processor": "one",
    "processors_usable": 2,
    "memory_bytes": 2**33,
    "python": "CPython 3.11",
    "packages": {PROJECT: "1.0", "torch": "2.13", "numpy": None},
    "load_average_1min": 0.1,
}


def make_environment(version="1.0", load=0.1, **changes):
    packages = {**ENVIRONMENT["packages"], PROJECT: version, **changes.pop("packages", {})}
    return {**ENVIRONMENT, "packages": packages, "load_average_1min": load, **changes}


def write_run(
    folder, cells, *, version="1.0", rounds=20, seed=1, noise=0.01, drift=None, extra=(), environment=None, **manifest
):
    """Write a run: ``cells`` gives the typical total of each in ms; ``drift`` slows single rounds down."""
    folder.mkdir(parents=True)
    environment = environment or make_environment(version)
    machine, run = fingerprint(environment), manifest.get("run", folder.name)
    fields = {
        "run": run,
        "machine": machine,
        "environments": {machine: environment},
        "command": "python -m bench",
        "variables": {"HF_HUB_OFFLINE": "1"},
        "protocol": PROTOCOL,
        "seed": 1,
        "suite": "none",
        "jobs": [],
        "cells": [cell.to_json() for cell in cells],
        "preparations": [],
        "models": {},
    }
    write_manifest(folder / "manifest.json", fields | manifest)
    rng = np.random.default_rng(seed)
    (folder / "records.jsonl").touch()
    for number in range(rounds):
        for cell, total_ms in cells.items():
            taken = total_ms * (drift(number) if drift else 1.0) * math.exp(rng.normal(0, noise))
            record = fakes.make_record(cell, number + 1, taken, run=run, machine=machine)
            append_record(folder / "records.jsonl", record)
    for record in extra:
        append_record(folder / "records.jsonl", record)
    return folder


@pytest.fixture
def two(tmp_path):
    """Write two runs and compare them: ``two({cell: ms}, {cell: ms}, base={...}, head={...})``."""

    def make(before, after, base=None, head=None, **criteria):
        folders = [
            write_run(tmp_path / name, cells, **{"version": version, "seed": seed, **(options or {})})
            for name, cells, options, version, seed in (
                ("base", before, base, "1.0", 1),
                ("head", after, head, "1.1", 2),
            )
        ]
        criteria.setdefault("metrics", ("total_ms",))
        return compare(*map(load_comparable, folders), Criteria(**criteria))

    return make


def only(comparison):
    (difference,) = comparison.differences
    return difference


class TestVerdicts:
    @pytest.mark.parametrize(
        ("after", "verdict", "code"),
        [(100, "same", 0), (101, "same", 0), (98, "same", 0), (108, "over", 1), (200, "over", 1), (90, "improved", 0)],
    )
    def test_by_reference(self, two, after, verdict, code):
        comparison = two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: after})
        difference = only(comparison)
        assert (difference.verdict, comparison.exit_code) == (verdict, code)
        assert difference.shift.ratio == pytest.approx(after / 100, rel=0.02)
        assert difference.shift.low < after / 100 < difference.shift.high
        assert difference.rounds_needed is None

    def test_medians_are_in_the_unit_of_the_metric(self, two):
        samples = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 200})).samples
        assert samples.base_median == pytest.approx(100, rel=0.02)
        assert samples.head_median == pytest.approx(200, rel=0.02)

    def test_a_floor_raises_the_limit_of_what_is_small(self, two):
        comparison = two({LAZY: 25}, {LAZY: 28}, metrics=("total_ms",), floors={"total_ms": 5.0})
        assert only(comparison).verdict == "same"
        assert only(comparison).limit == pytest.approx(1.2, rel=0.01)

    def test_the_default_floor_is_two_of_a_unit(self, two):
        by_key = {each.metric.key: each for each in two({LAZY: 25}, {LAZY: 25}, metrics=()).differences}
        assert list(by_key) == ["total_ms", "init_ms", "peak_mib"]
        assert by_key["total_ms"].limit == pytest.approx(1 + 2 / 25, rel=0.01)
        assert by_key["peak_mib"].limit == pytest.approx(1 + 2 / 60, rel=0.01)

    def test_the_tolerance_counts_where_it_is_more_than_the_floor(self, two):
        assert only(two({LAZY: 100}, {LAZY: 115}, tolerance=0.2)).limit == pytest.approx(1.2)

    def test_a_wide_interval_is_inconclusive_and_says_how_many_rounds_it_takes(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, {"noise": 0.4}, {"noise": 0.4}))
        assert (difference.verdict, difference.shift.n) == ("inconclusive", 20)
        assert difference.rounds_needed > 20

    @given(st.floats(-0.3, 0.5), st.floats(1e-3, 1), st.floats(1e-3, 1), st.integers(10, 100), st.floats(1.0, 1.5))
    def test_so_many_rounds_decide_if_the_estimate_stays(self, middle, below, above, count, limit):
        shift = Shift(math.exp(middle), math.exp(middle - below), math.exp(middle + above), count, 0.95)
        highest = limit * 1.1
        assume(shift.low < limit and shift.high > highest)
        needed = rounds_needed_for(shift, limit, highest, fewest=10)
        for rounds, decides in ((needed + 1, True), (needed * 0.98 - 2, False)):
            if rounds > count:
                shrunk = math.sqrt(count / rounds)
                low, high = math.exp(middle - below * shrunk), math.exp(middle + above * shrunk)
                assert (low > limit or high < highest) == decides

    def test_too_few_rounds_have_no_interval(self, two):
        comparison = two({LAZY: 100}, {LAZY: 500}, {"rounds": 9})
        difference = only(comparison)
        assert (difference.verdict, difference.rounds_needed, comparison.exit_code) == ("inconclusive", 10, 3)
        assert difference.shift.high == math.inf

    def test_holm_is_over_all_figures(self, two):
        cells = {fakes.make_cell(name): 100 for name in ("lazy", "background", "progressive")}
        comparison = two(cells, {**cells, LAZY: 200})
        levels = {each.cell.strategy: (1 - each.shift.confidence) / 2 for each in comparison.differences}
        assert levels == {
            "lazy": pytest.approx(0.025 / 3),
            "background": pytest.approx(0.025 / 2),
            "progressive": pytest.approx(0.025 / 2),
        }
        assert [each.cell for each in comparison.judged("over")] == [LAZY]

    def test_what_is_equal_is_rarely_called_over(self, tmp_path):
        """Even with no tolerance at all, and the drift of the machine to be cancelled."""
        trials, alarms, improved = 60, 0, 0
        for trial in range(trials):
            folders = [
                write_run(
                    tmp_path / f"{trial}-{name}",
                    {PLAIN: 300, LAZY: 100},
                    seed=2 * trial + number,
                    noise=0.1,
                    rounds=12,
                    drift=lambda _, slower=slower: slower,
                )
                for number, (name, slower) in enumerate({"base": 1.0, "head": 1.05}.items())
            ]
            criteria = Criteria(("total_ms",), tolerance=0.0, floors={"total_ms": 0.0})
            verdict = only(compare(*map(load_comparable, folders), criteria)).verdict
            alarms, improved = alarms + (verdict == "over"), improved + (verdict == "improved")
        allowed = scipy.stats.binom.isf(NEGLIGIBLE, trials, 0.025)
        assert alarms <= allowed
        assert improved <= allowed


class TestDrift:
    """The head run was measured while the machine was slower."""

    def slower(self, factor):
        return {"drift": lambda number: factor}

    def test_a_reference_cancels_it(self, two):
        difference = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 100}, head=self.slower(1.08)))
        assert difference.samples.design == "by reference"
        assert difference.samples.reference == PLAIN
        assert difference.samples.drift.ratio == pytest.approx(1.08, rel=0.01)
        assert difference.verdict == "same"
        assert difference.shift.ratio == pytest.approx(1.0, abs=0.02)

    def test_it_cancels_what_comes_and_goes_too(self, two):
        waves = {"drift": lambda number: 1 + 0.5 * (number % 2)}
        difference = only(two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 110}, waves, waves))
        assert difference.verdict == "over"
        assert difference.shift.high / difference.shift.low < 1.05

    @pytest.mark.parametrize("factor", [1.3, 0.7])
    def test_too_much_of_it_is_inconclusive(self, two, factor):
        comparison = two({PLAIN: 3000, LAZY: 100}, {PLAIN: 3000, LAZY: 300}, head=self.slower(factor))
        assert (only(comparison).verdict, comparison.exit_code) == ("inconclusive", 3)

    def test_numpy_is_the_reference_where_there_is_no_other(self, two):
        difference = only(two({NUMPY: 90, LAZY: 100}, {NUMPY: 90, LAZY: 100}, head=self.slower(1.08)))
        assert (difference.samples.reference, difference.verdict) == (NUMPY, "same")

    def test_plain_sentence_transformers_comes_first(self, two):
        cells = {NUMPY: 90, PLAIN: 3000, LAZY: 100}
        assert only(two(cells, cells)).samples.reference == PLAIN

    def test_a_reference_of_another_model_is_none(self, two):
        other = fakes.make_cell(BASELINE, model_key="mpnet", model="org/mpnet")
        cells = {other: 3000, LAZY: 100}
        assert only(two(cells, cells)).samples.design == "absolute"

    def test_without_a_reference_it_looks_like_a_change(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, head=self.slower(1.08)))
        assert (difference.samples.design, difference.verdict) == ("absolute", "over")

    def test_memory_does_not_depend_on_it(self, two):
        cells = {PLAIN: 3000, LAZY: 100}
        difference = only(two(cells, cells, head=self.slower(1.3), metrics=("peak_mib",)))
        assert (difference.samples.design, difference.verdict) == ("absolute", "same")
        assert difference.samples.drift is None


class TestInterleavedRuns:
    """The arms of a gate are compared round by round."""

    def arm(self, name, gate="g1", **more):
        return {"gate": gate, "arm": name, "drift": lambda number: 1 + 0.5 * (number % 3), "noise": 0.003, **more}

    def test_they_are_paired(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 106}, self.arm("base"), self.arm("head")))
        assert (difference.samples.design, difference.verdict) == ("by round", "over")
        assert difference.shift.ratio == pytest.approx(1.06, rel=0.01)
        assert difference.shift.high / difference.shift.low < 1.02

    def test_six_rounds_can_be_enough(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 150}, self.arm("base", rounds=6), self.arm("head", rounds=6)))
        assert (difference.verdict, difference.shift.n) == ("over", 6)

    def test_three_are_not(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 150}, self.arm("base", rounds=3), self.arm("head", rounds=3)))
        assert (difference.verdict, difference.rounds_needed) == ("inconclusive", 6)

    def test_a_round_that_only_one_has_is_left_out(self, two):
        difference = only(two({LAZY: 100}, {LAZY: 100}, self.arm("base", rounds=15), self.arm("head", rounds=12)))
        assert difference.shift.n == 12

    @pytest.mark.parametrize("other", [{"gate": "g2"}, {"gate": ""}, {"gate": None}, {"arm": None}])
    def test_others_are_not(self, two, other):
        head = {**self.arm("head"), **other}
        assert only(two({LAZY: 100}, {LAZY: 106}, self.arm("base"), head)).samples.design == "absolute"


def failed(cell=LAZY, version="1.1", run="head", status="failed", message="it broke"):
    machine = fingerprint(make_environment(version))
    return fakes.make_record(cell, 1, status=status, message=message, run=run, machine=machine)


class TestGaps:
    OTHER = fakes.make_cell("progressive")

    def test_a_cell_that_broke_is_an_error(self, two):
        head = {"extra": [failed(self.OTHER)]}
        comparison = two({LAZY: 100, self.OTHER: 100}, {LAZY: 100}, head=head)
        (gap,) = comparison.gaps
        assert (gap.cell, gap.side, gap.message, gap.is_loss) == (self.OTHER, "head", "failed: it broke", True)
        assert comparison.exit_code == 2
        assert only(comparison).verdict == "same"

    def test_even_where_something_else_is_over(self, two):
        assert two({LAZY: 100, self.OTHER: 100}, {LAZY: 200}).exit_code == 2

    def test_a_new_cell_is_only_listed(self, two):
        comparison = two({LAZY: 100}, {LAZY: 100, self.OTHER: 100})
        (gap,) = comparison.gaps
        assert (gap.cell, gap.side, gap.message, comparison.exit_code) == (self.OTHER, "base", "not measured", 0)

    def test_what_neither_can_do_is_only_listed(self, two):
        extra = [failed(self.OTHER, "1.0", "base", "unsupported", "no GPU")]
        more = [failed(self.OTHER, "1.1", "head", "unsupported", "no GPU")]
        comparison = two({LAZY: 100}, {LAZY: 100}, {"extra": extra}, {"extra": more})
        (gap,) = comparison.gaps
        assert (gap.side, gap.message, comparison.exit_code) == ("both", "unsupported: no GPU", 0)

    def test_single_failures_leave_the_others(self, two):
        comparison = two({LAZY: 100}, {LAZY: 100}, head={"extra": [failed()]})
        assert (comparison.gaps, comparison.exit_code) == ((), 0)

    def test_a_figure_that_only_one_has_is_listed(self, two):
        machine = fingerprint(make_environment("1.0"))
        extra = [fakes.make_record(LAZY, 99, run="base", machine=machine, io={"read_bytes": 2**20})]
        comparison = two({LAZY: 100}, {LAZY: 100}, {"extra": extra}, metrics=("total_ms", "disk_reads_mib"))
        (gap,) = comparison.gaps
        assert (gap.metric.key, gap.side, gap.is_loss, comparison.exit_code) == ("disk_reads_mib", "head", False, 0)

    def test_references_and_other_libraries_are_not_judged(self, two):
        cells = {PLAIN: 3000, NUMPY: 90, LAZY: 100}
        assert [each.cell for each in two(cells, cells).differences] == [LAZY]

    def test_nothing_in_common_says_what_each_has(self, two):
        with pytest.raises(BenchError, match=r"BASE has samples of: lazy/auto.*HEAD has samples of: progressive/auto"):
            two({LAZY: 100}, {self.OTHER: 100})

    def test_a_run_without_samples(self, two):
        with pytest.raises(BenchError, match=r"HEAD has samples of: no cell.*lazy/auto/minilm/cpu/idle: failed: it"):
            two({LAZY: 100}, {}, head={"extra": [failed()]})

    def test_only_references_in_common(self, two):
        with pytest.raises(BenchError, match="no figure of the loader in common"):
            two({PLAIN: 100}, {PLAIN: 100})

    def test_a_metric_that_nobody_has(self, two):
        with pytest.raises(BenchError, match="no figure of the loader in common"):
            two({LAZY: 100}, {LAZY: 100}, metrics=("results_ms",))

    def test_a_value_that_has_no_ratio(self, two):
        machine = fingerprint(make_environment("1.1"))
        nothing = {"longest_stall_s": 0.0}
        extra = [fakes.make_record(LAZY, 99, run="head", machine=machine, heartbeat=nothing)]
        more = [fakes.make_record(LAZY, 99, run="base", machine=fingerprint(make_environment()), heartbeat=nothing)]
        with pytest.raises(BenchError, match="longest_stall_ms of 0 in round 99"):
            two({LAZY: 1}, {LAZY: 1}, {"extra": more}, {"extra": extra}, metrics=("longest_stall_ms",))

    def test_only_samples_that_count_are_compared(self, two):
        machine = fingerprint(make_environment("1.1"))
        stamp = {"run": "head", "machine": machine}
        extra = [
            fakes.make_record(LAZY, 90, 9000.0, is_warmup=True, **stamp),
            fakes.make_record(LAZY, 91, 9000.0, instrument="memray", **stamp),
            fakes.make_record(LAZY, 92, 9000.0, contamination="steal", **stamp),
            fakes.make_record(LAZY, 92, 100.0, attempt=1, **stamp),
        ]
        samples = only(two({LAZY: 100}, {LAZY: 100}, head={"extra": extra})).samples
        assert len(samples.head) == 21
        assert max(samples.head) < math.log(200)


class TestMachines:
    def test_the_version_of_the_project_and_the_load_do_not_count(self):
        unknown = {**make_environment(), "packages": {"torch": "2.13", "numpy": None}}
        others = make_environment("1.0", 0.1), make_environment("2.0", 7.0), make_environment(), unknown
        assert len({environment_of(fields).comparable for fields in others}) == 1

    def test_everything_else_does(self):
        here = describe_environment()
        for key in here.to_json().keys() - {"packages", "load_average_1min"}:
            assert replace(here, **{key: "other"}).comparable != here.comparable, key
        for name in PACKAGES:
            other = replace(here, packages={**here.packages, name: "0"})
            assert (other.comparable == here.comparable) == (name == PROJECT)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"processor": "two"}, r"processor \(one, then two\)"),
            ({"python": "CPython 3.12"}, r"python \(CPython 3.11, then CPython 3.12\)"),
            ({"packages": {"torch": "2.14"}}, r"torch \(2.13, then 2.14\)"),
            ({"packages": {"numpy": "2.0"}}, r"numpy \(None, then 2.0\)"),
            ({"processors_usable": 1, "memory_bytes": 1}, r"memory_bytes .*, processors_usable \(2, then 1\)"),
        ],
    )
    def test_others_are_refused_with_what_differs(self, two, changes, words):
        with pytest.raises(IncomparableError, match=words):
            two({LAZY: 100}, {LAZY: 100}, head={"environment": make_environment("1.1", **changes)})

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"variables": {"HF_HUB_OFFLINE": "0"}}, r"the variable HF_HUB_OFFLINE \(1, then 0\)"),
            ({"variables": {}}, "the variable HF_HUB_OFFLINE"),
            ({"protocol": PROTOCOL | {"max_steal": 0.5}}, r"protocol.max_steal \(0.05, then 0.5\)"),
        ],
    )
    def test_other_conditions_are_refused(self, two, changes, words):
        with pytest.raises(IncomparableError, match=words):
            two({LAZY: 100}, {LAZY: 100}, head=changes)

    def test_more_rounds_are_no_other_condition(self, two):
        head = {"protocol": PROTOCOL | {"rounds": 99, "budget_s": 1.0}, "rounds": 30}
        assert only(two({LAZY: 100}, {LAZY: 100}, head=head)).verdict == "same"

    def test_each_machine_is_compared_with_itself(self, tmp_path):
        """One of three machines is slower in the second run, and one is gone."""
        merged = []
        for side, version in (("base", "1.0"), ("head", "1.1")):
            parts = []
            for machine, total_ms in (("one", 100), ("two", 200 if side == "base" else 300), ("three", 50)):
                if (side, machine) != ("head", "three"):
                    environment = make_environment(version, processor=machine)
                    folder = tmp_path / f"{side}-{machine}"
                    parts.append(write_run(folder, {LAZY: total_ms}, environment=environment))
            merged.append(merge(parts, tmp_path / side))
        comparison = compare(*map(load_comparable, merged), Criteria(("total_ms",)))
        found = {round(each.samples.base_median, -2): (each.machine, each.verdict) for each in comparison.differences}
        assert {total_ms: verdict for total_ms, (_, verdict) in found.items()} == {100: "same", 200: "over"}
        assert len({machine for machine, _ in found.values()} & {"machine A", "machine B", "machine C"}) == 2
        (sentence,) = comparison.alone
        assert sentence == "three, CPython 3.11, Linux 6 is only in the base run"
        assert comparison.exit_code == 1

    def test_two_versions_in_one_run_are_refused(self, tmp_path):
        parts = [write_run(tmp_path / version, {LAZY: 100}, version=version) for version in ("1.0", "1.1")]
        mixed, single = merge(parts, tmp_path / "mixed"), write_run(tmp_path / "c", {LAZY: 100}, version="1.2")
        with pytest.raises(IncomparableError, match="several versions"):
            compare(load_comparable(mixed), load_comparable(single), Criteria())

    def test_a_run_without_a_machine(self):
        with pytest.raises(IncomparableError, match="does not name a machine"):
            match_machines(Manifest(), manifest_of({"environments": {"a": make_environment()}}))


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
        broken = fakes.make_record(TestGaps.OTHER, 1, status="failed", message="a | <b>\nc", run="b2", machine=machine)
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
        write_run(tmp_path / "d", {**self.CELLS, TestGaps.OTHER: 1})
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
