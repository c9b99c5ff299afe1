"""Runs over commits: pages and pictures, whatever the runs are."""

import datetime
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.data.records import append_record
from bench.errors import ConfigError
from bench.history.__main__ import main
from bench.history.find import find_runs
from bench.history.order import Position, group_runs
from bench.history.page import sheet_table, to_document
from bench.history.picture import draw
from bench.history.runs import HistoryRun, MeasuredRevision, printable, read_runs, to_time
from bench.history.sheets import make_history
from bench.history.trends import make_trend
from bench.plan.cell import BASELINE
from bench.report.markdown import render
from bench.report.saving import save
from bench.stats.comparison import Criteria
from tests.bench.compare.runs import make_environment, write_run
from tests.bench.history.runs import LAZY, NUMPY, PLAIN, history_of, make_revision, only
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import environment_of, write_manifest


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


@pytest.mark.drawing
@settings(max_examples=20, deadline=None)
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
