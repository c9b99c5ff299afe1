"""``suite=quality``: what is written, and the report of it."""

import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.fields import to_json
from bench.data.quality_records import SCHEMA, QualityFigures, QualityRecord, from_line, read_quality_records
from bench.data.records import append_record
from bench.errors import RecordError
from bench.quality.task import Task
from bench.report import terminal
from bench.report.markdown import render
from bench.report.quality import report, tables
from tests.bench.quality.runs import CELL, FACTS, FIGURES, REFERENCE_CELL, REFERENCE_FIGURES
from tests.bench.report.test_report import MANIFEST
from tests.bench.support.manifests import write_manifest
from tests.conftest import ROOT

pytestmark = pytest.mark.process

DATA = ROOT / "tests" / "data"


optional_floats = st.none() | st.floats(-1, 1)


FIGURES_STRATEGY = st.builds(
    QualityFigures,
    st.integers(20, 900),
    st.integers(20, 900),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 9999),
    optional_floats,
    st.integers(0, 9999),
    optional_floats,
    optional_floats,
    optional_floats,
    st.none() | st.text(),
    optional_floats,
)


@st.composite
def any_record(draw):
    status = draw(st.sampled_from(["ok", "ok", "failed", "timeout", "unsupported", "invalid"]))
    cells = [CELL, REFERENCE_CELL, dataclasses.replace(CELL, device="cuda"), dataclasses.replace(CELL, threads=2)]
    figures = draw(FIGURES_STRATEGY) if status == "ok" else None
    facts = {key: draw(st.text()) for key in FACTS} if status == "ok" else {}
    return QualityRecord(
        draw(st.sampled_from(cells)), status, draw(st.text()), draw(st.text()), facts, figures, draw(st.text())
    )


class TestRecords:
    @given(any_record())
    def test_a_line_gives_the_record_back(self, record):
        assert record.to_line().count("\n") == 1
        assert from_line(record.to_line()) == record

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": 99},
            {"status": "fine"},
            {"surprise": 1},
            {"figures": None},
            {"figures": {"document_count": 1}},
            {"cell": {}},
        ],
    )
    def test_what_is_no_record(self, change):
        line = json.loads(QualityRecord(CELL, "ok", facts=FACTS, figures=FIGURES).to_line())
        with pytest.raises(RecordError):
            from_line(json.dumps(line | change))
        for text in ("", "[]", "{}", "nonsense"):
            with pytest.raises(RecordError):
                from_line(text)

    @pytest.mark.parametrize("path", sorted(DATA.glob("quality-schema-*.jsonl")), ids=lambda path: path.stem)
    def test_records_of_every_schema_stay_readable(self, path):
        records = read_quality_records(path)
        assert [record.status for record in records] == ["ok", "ok", "unsupported"]
        assert records[1].figures.text_count > 1000
        assert records[1].figures.cosine_min > 0.99999

    def test_there_is_a_frozen_file_of_the_current_schema(self):
        assert (DATA / f"quality-schema-{SCHEMA}.jsonl").exists()


TASK_FACTS = Task(("d",), ("q",), ("o",), ("a",), ("b",), (1.0,)).facts()


def write_run(folder, records):
    folder.mkdir()
    cells = [cell.to_json() for cell in dict.fromkeys(record.cell for record in records)]
    manifest = {key: value for key, value in MANIFEST.items() if key not in {"protocol", "seed"}}
    write_manifest(folder / "manifest.json", manifest | {"cells": cells, "task": to_json(TASK_FACTS)})
    (folder / "quality.jsonl").touch()
    for record in records:
        append_record(folder / "quality.jsonl", record)
    return folder


def records_of(**changes):
    return [
        QualityRecord(
            REFERENCE_CELL, "ok", facts=FACTS | {"engine": "sentence_transformers"}, figures=REFERENCE_FIGURES
        ),
        dataclasses.replace(QualityRecord(CELL, "ok", facts=FACTS, figures=FIGURES), **changes),
    ]


class TestReport:
    @settings(deadline=None)
    @given(records=st.lists(any_record(), max_size=6))
    def test_any_records_render(self, tmp_path_factory, records):
        text = render(
            report.make_document(
                report.load_quality_context(write_run(tmp_path_factory.mktemp("runs") / "run", records))
            )
        )
        assert text.startswith("# How good the vectors are")
        for line in text.splitlines():
            if line.startswith("|"):
                assert len(re.split(r"(?<!\\)\|", line)) in {7, 11, 14}, line

    def test_figures_stand_beside_the_references(self, tmp_path):
        report.present(write_run(tmp_path / "run", records_of()), quiet=True)
        text = (tmp_path / "run" / "report.md").read_text()
        assert "| lazy | numpy | float32 | minilm | 0.9900000 | 0.9800000 | 0.9700000 | 0.9500 | 176 |" in text
        row = "0.5000 | 0.6000 | 0.7500 | 0.8500 | 0.8000 | 0.9000 | 20 | 4 |"
        assert f"| lazy | numpy | float32 | minilm | {row}" in text
        for expected in ("'worst'", MANIFEST["command"], "made up", TASK_FACTS.fixed_texts_sha256):
            assert expected in text
        assert "Protocol" not in text

    def test_every_figure_is_explained(self, tmp_path):
        context = report.load_quality_context(write_run(tmp_path / "run", records_of()))
        for table in (tables.vector_table(context), tables.task_table(context)):
            for heading in table.headings:
                assert heading.removesuffix(" ref.") in {*tables.COLUMNS, "Strategy", "Engine", "Model"}
            assert set(table.details) < set(table.headings)

    def test_the_same_records_give_the_same_bytes(self, tmp_path):
        made = []
        for name in ("one", "two"):
            report.present(write_run(tmp_path / name, records_of()), quiet=True)
            made.append((tmp_path / name / "report.md").read_bytes())
        assert made[0] == made[1]

    def test_cells_without_a_result_say_why(self, tmp_path):
        message = "No engine can | compute this"
        records = records_of(status="unsupported", message=message, facts={}, figures=None)
        text = render(report.make_document(report.load_quality_context(write_run(tmp_path / "run", records))))
        assert "| lazy | numpy | minilm | unsupported | No engine can \\| compute this |" in text
        assert "No cell has a result" in text
        assert "## Tasks" not in text

    def test_devices_and_threads_are_shown_where_they_vary(self, tmp_path):
        more = dataclasses.replace(records_of()[1], cell=dataclasses.replace(CELL, device="cuda", threads=2))
        context = report.load_quality_context(write_run(tmp_path / "run", [*records_of(), more]))
        assert [row[0] for row in tables.vector_table(context).rows] == [
            "lazy, cpu, default threads",
            "lazy, cuda, 2 threads",
        ]

    @pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a|b", "**bold**", "[x](http://y)", "a\n\n# b"])
    def test_hostile_names_render_as_text(self, tmp_path, hostile):
        cell = dataclasses.replace(CELL, model_key=hostile, strategy=hostile)
        figures = dataclasses.replace(FIGURES, cosine_min_text=hostile)
        records = [records_of()[0], QualityRecord(cell, "ok", facts=dict.fromkeys(FACTS, hostile), figures=figures)]
        text = render(report.make_document(report.load_quality_context(write_run(tmp_path / "run", records))))
        assert hostile not in text
        assert "<script" not in text.replace("\\<script", "")

    @pytest.mark.parametrize("width", [80, 100, 120, 200])
    def test_tables_fit_the_terminal_with_whole_names(self, width, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
        facts = FACTS | {"engine": "sentence_transformers"}
        folder = write_run(tmp_path / "run", records_of(facts=facts, figures=FIGURES))
        report.present(folder, quiet=False)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines[:-1])) <= width
        rows = [line for line in lines if line.lstrip().startswith("lazy")]
        assert len(rows) == 2
        assert all("sentence_transformers" in row for row in rows)
        assert all(figure in rows[0] for figure in ("0.9900000", "0.9700000", "0.9500"))
        assert all(figure in rows[1] for figure in ("0.5000", "0.6000", "0.8000", "0.9000"))
        assert ("float32" in rows[1]) == (width == 200)
        report.present(folder, quiet=True)
        assert capsys.readouterr().out == f"Report: {folder / 'report.md'}\n"
