"""Runs over commits: their order, and which belong together."""

import pytest

from bench.data.manifest import read_manifest
from bench.history.find import find_runs
from bench.history.order import group_runs
from bench.history.page import notes, sheet_table
from tests.bench.compare.runs import PROTOCOL, make_environment, write_run
from tests.bench.history.runs import LAZY, history_of, make_revision, only


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
