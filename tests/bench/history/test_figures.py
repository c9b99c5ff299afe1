"""Runs over commits: the figures."""

import math

import pytest

from bench.history.find import find_runs
from bench.history.page import notes, sheet_table
from bench.stats.comparison import Criteria
from bench.stats.intervals import median_interval
from bench.stats.shifts import independent_shift, paired_shift
from tests.bench.compare.runs import make_environment, write_run
from tests.bench.history.runs import LAZY, NUMPY, PLAIN, STILL, history_of, make_revision, only
from tests.bench.support import fakes
from tests.bench.support.manifests import fingerprint


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
