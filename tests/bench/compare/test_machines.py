"""Comparing two runs: what must be the same, and what may differ."""

from dataclasses import replace

import pytest

from bench.compare.__main__ import load_comparable
from bench.data.conditions import match_machines
from bench.data.environment import PROJECT
from bench.data.manifest import Manifest
from bench.data.merging import merge
from bench.errors import IncomparableError
from bench.measure.machine import PACKAGES, describe_environment
from bench.stats.comparison import Criteria, compare
from tests.bench.compare.runs import LAZY, PROTOCOL, make_environment, only, write_run
from tests.bench.support.manifests import environment_of, manifest_of


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
