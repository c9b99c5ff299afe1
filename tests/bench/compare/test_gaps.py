"""Comparing two runs: what only one of them has."""

import math

import pytest

from bench.errors import BenchError
from tests.bench.compare.runs import LAZY, NUMPY, OTHER, PLAIN, failed, make_environment, only
from tests.bench.support import fakes
from tests.bench.support.manifests import fingerprint


class TestGaps:
    def test_a_cell_that_broke_is_an_error(self, two):
        head = {"extra": [failed(OTHER)]}
        comparison = two({LAZY: 100, OTHER: 100}, {LAZY: 100}, head=head)
        (gap,) = comparison.gaps
        assert (gap.cell, gap.side, gap.message, gap.is_loss) == (OTHER, "head", "failed: it broke", True)
        assert comparison.exit_code == 2
        assert only(comparison).verdict == "same"

    def test_even_where_something_else_is_over(self, two):
        assert two({LAZY: 100, OTHER: 100}, {LAZY: 200}).exit_code == 2

    def test_a_new_cell_is_only_listed(self, two):
        comparison = two({LAZY: 100}, {LAZY: 100, OTHER: 100})
        (gap,) = comparison.gaps
        assert (gap.cell, gap.side, gap.message, comparison.exit_code) == (OTHER, "base", "not measured", 0)

    def test_what_neither_can_do_is_only_listed(self, two):
        extra = [failed(OTHER, "1.0", "base", "unsupported", "no GPU")]
        more = [failed(OTHER, "1.1", "head", "unsupported", "no GPU")]
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
            two({LAZY: 100}, {OTHER: 100})

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
