"""Reports: any records render, the same records give the same bytes, text from outside stays text."""

import dataclasses

import pytest

from bench.data.records import append_record
from bench.errors import BenchError
from bench.plan.cell import BASELINE, EMPTY
from bench.report import gather
from bench.report.document import escape
from bench.report.making import make_document
from bench.report.making import write_report as write
from bench.report.markdown import render as render_markdown
from bench.report.markdown import to_markdown
from bench.report.plots import PLOTS
from bench.report.sections import SECTIONS
from bench.report.tables import memory_tables, startup_tables
from bench.stats.context import Context, load_context
from bench.stats.summary import summarise
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of, write_manifest
from tests.conftest import ROOT

MANIFEST = {
    "command": "python -m bench strategy=lazy",
    "run": "r",
    "machine": "m",
    "environments": {
        "m": {
            "system": "Linux 6",
            "machine": "x86_64",
            "processor": "made up",
            "processors_usable": 2,
            "memory_bytes": 2**34,
            "python": "CPython 3.11.0",
            "packages": {"torch": "2.0", "numpy": None},
            "load_average_1min": 0.1,
        }
    },
    "variables": {"HF_HUB_OFFLINE": "1"},
    "protocol": {"name": "quick", "warmup_rounds": 1, "rounds": 3, "budget_s": 100.0, "sample_timeout_s": 10.0},
    "seed": 1,
    "cells": [],
    "models": {"org/minilm": "path"},
}
CELLS = [fakes.make_cell(BASELINE), fakes.make_cell("lazy"), fakes.make_cell("progressive", model="o/b", model_key="b")]


def render(context):
    return render_markdown(make_document(context))


def write_report(folder):
    context = gather.gather([folder], folder)
    write(context, folder)
    return context


def context_of(records):
    return Context(manifest_of(MANIFEST), records, summarise(records))


def write_run(folder, records):
    folder.mkdir()
    write_manifest(folder / "manifest.json", MANIFEST | {"cells": [cell.to_json() for cell in CELLS]})
    (folder / "records.jsonl").touch()
    for record in records:
        append_record(folder / "records.jsonl", dataclasses.replace(record, machine=MANIFEST["machine"]))
    return folder


def test_a_report_has_the_specified_tables():
    records = [fakes.make_record(cell, number, 100.0 * (1 + i)) for i, cell in enumerate(CELLS) for number in range(3)]
    report = render(context_of(records))
    for text in ("Init Time", "Model Ready", "First Embedding", "Total", "Peak", "Steady State", MANIFEST["command"]):
        assert text in report
    assert "| baseline | 10.0 | - | 80.0 | 100 | - | 1.00 | - | 3 | 0 |" in report
    assert "| lazy | 10.0 | - | 180 | 200 | - | 2.00 | - | 3 | 0 |" in report
    assert "### Startup time (ms): b" in report
    assert "plain sentence-transformers is 1.0000000" in report


class TestInEmptyPrograms:
    EMPTY_PROGRAM = fakes.make_cell(EMPTY, subject=EMPTY, engine="")

    def table(self, *totals):
        """The startup table of rounds: of each, what an empty program and the strategy took."""
        cells = (self.EMPTY_PROGRAM, CELLS[1])
        records = [
            fakes.make_record(cell, number, taken, memory={} if cell == self.EMPTY_PROGRAM else {"steady": {}})
            for number, pair in enumerate(totals)
            for cell, taken in zip(cells, pair, strict=True)
        ]
        return context_of(records)

    def test_a_total_is_divided_round_by_round(self):
        """On a machine that has become five times slower meanwhile, too."""
        (table,) = startup_tables(self.table((10.0, 30.0), (50.0, 150.0), (11.0, 44.0)))
        assert table.headings[-1] == "Times empty"
        assert {row[0]: row[-1] for row in table.rows} == {EMPTY: "1.00", "lazy": "3.00"}

    def test_without_an_empty_program_there_is_no_such_column(self):
        (table,) = startup_tables(context_of([fakes.make_record(CELLS[1])]))
        assert "Times empty" not in table.headings

    def test_its_memory_is_not_known(self):
        (table,) = memory_tables(self.table((10.0, 30.0)))
        assert [row[0] for row in table.rows] == ["lazy"]

    def test_it_is_said_in_words(self):
        report = render(self.table((10.0, 30.0), (10.0, 30.0)))
        assert "The total is 30.0 ms; an empty Python program takes 10.0 ms." in report
        assert "`python -c pass`, from spawn to exit" in report


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "a|b", "**bold**", "[x](http://y)", "`code`", "a\n\n# b", "$x$"]
)
def test_hostile_names_render_as_text(hostile, tmp_path):
    cell = fakes.make_cell(hostile, model=hostile, model_key=hostile)
    other = fakes.make_cell("lazy")
    records = [
        fakes.make_record(cell),
        fakes.make_record(other),
        dataclasses.replace(fakes.make_record(cell), status="failed", message=hostile),
    ]
    report = render(context_of(records))
    assert hostile not in report or hostile == "$x$"
    assert "<script" not in report.replace("\\<script", "")
    assert "\n# b" not in report
    for plot in PLOTS:
        plot.draw(context_of(records)).savefig(tmp_path / "plot.png")


def test_escaping_can_be_undone():
    assert escape("a|b_c\nd") == "a\\|b\\_c d"
    assert to_markdown(*startup_tables(context_of([fakes.make_record()]))).count("\n") == 2


@pytest.mark.drawing
def test_the_same_records_give_the_same_bytes(tmp_path):
    records = [fakes.make_record(cell, number, 100.0 + number) for cell in CELLS for number in range(3)]
    made = []
    for name in ("one", "two"):
        folder = write_run(tmp_path / name, records)
        write_report(folder)
        made.append({p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})
    assert made[0] == made[1]
    assert {str(path) for path in made[0]} >= {"report.md", "plots/phases.png", "plots/phases.svg"}


def test_a_run_without_a_valid_sample_is_reported(tmp_path):
    records = [dataclasses.replace(fakes.make_record(cell), status="failed", message="no") for cell in CELLS]
    folder = write_run(tmp_path / "run", records)
    write_report(folder)
    report = (folder / "report.md").read_text()
    assert "No cell has a valid sample" in report
    assert report.count("| failed | 1 | no |") == 3
    assert not (folder / "plots").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(BenchError, match="Is it the folder of a run"):
        load_context(tmp_path)
    write_run(tmp_path / "run", [])
    (tmp_path / "run" / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(BenchError, match="99"):
        load_context(tmp_path / "run")


def test_every_section_and_plot_is_listed():
    for package, listed in (
        ("sections", {section.__module__.rpartition(".")[2] for section in SECTIONS}),
        ("plots", {plot.draw.__module__.rpartition(".")[2] for plot in PLOTS}),
    ):
        files = {path.stem for path in (ROOT / "bench" / "report" / package).glob("*.py")} - {"__init__"}
        assert files == listed


def test_marks_that_are_missing_or_equal_do_not_matter():
    marks = {"spawn": 0, "first_embedding": 0, "exit": 5}
    records = [fakes.make_record(cell, number, marks_ns=marks) for cell in CELLS for number in range(7)]
    assert "**First vector after 0.00 ms with lazy" in render(context_of(records))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_tables_fit_the_terminal_with_whole_names(width, tmp_path, capsys, monkeypatch):
    from bench.report import terminal

    monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
    records = [fakes.make_record(cell, number, 12_345.0) for cell in CELLS for number in range(3)]
    records.append(dataclasses.replace(fakes.make_record(CELLS[1]), status="failed", message="a long message " * 20))
    terminal.show(context_of(records), tmp_path / "report.md", quiet=False)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-1])) <= width
    for text in (
        "baseline",
        "progressive",
        "Startup time (ms): b",
        "12,345",
        "Init Time",
        "Steady State",
        "failed",
        "Report: ",
    ):
        assert text in out
    terminal.show(context_of(records), tmp_path / "report.md", quiet=True)
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report.md'}\n"


@pytest.mark.parametrize("scenario", ["search_command", "concurrent", "think_time", "at_once", "idle"])
def test_a_run_of_any_scenario_has_a_report(tmp_path, scenario):
    more = {"think_time": {"think_s": 1.0, "think_kind": "sleep"}, "concurrent": {"processes": 8}}.get(scenario, {})
    cells = [fakes.make_cell(name, scenario=scenario, **more) for name in (BASELINE, "lazy")]
    figures = {
        "search_command": {"marks_ns": {"spawn": 0, "results": 70_000_000, "exit": 80_000_000}, "memory": {}},
        "concurrent": {"memory": {"together": {"pss_bytes": 80 * 2**20, "rss_bytes": 2**28}}},
        "think_time": {"heartbeat": {"longest_stall_s": 0.009, "total_stall_s": 0.03}},
    }.get(scenario, {})
    records = [fakes.make_record(cell, number, **figures) for cell in cells for number in range(7)]
    folder = write_run(tmp_path / "run", records)
    report = render(write_report(folder))
    shown = {
        "search_command": "| lazy | 70.0 |",
        "concurrent": "| lazy | 80.0 | 80.0 to 80.0 | 1.00 | 1.00 to 1.00 | 7 | 0 |",
        "think_time": "| 9.00 | 30.0 |",
    }.get(scenario, "| lazy | 10.0 | - | 80.0 | 100 | 100 to 100 | 1.00 | 1.00 to 1.00 | 7 | 0 |")
    assert shown in report
    has_phases = scenario in {"idle", "at_once"}
    assert (folder / "plots" / "phases.png").exists() == has_phases
    assert ("plots/phases.png" in report) == has_phases


def test_machines_of_a_merged_run_stand_beside_each_other():
    machines = {"m": MANIFEST["environments"]["m"], "n": MANIFEST["environments"]["m"] | {"processor": "another one"}}
    manifest = MANIFEST | {"environments": machines, "machine": None, "run": None, "protocol": None, "seed": None}
    records = [
        fakes.make_record(cell, number, total, machine=machine)
        for machine, total in (("m", 100.0), ("n", 1000.0))
        for cell in CELLS[:2]
        for number in range(6)
    ]
    report = render(Context(manifest_of(manifest), records, summarise(records)))
    assert "| lazy, machine A | 10.0 | - | 80.0 | 100 | 100 to 100 | 1.00 | 1.00 to 1.00 | 6 | 0 |" in report
    assert "| lazy, machine B | 10.0 | - | 980 | 1,000 | 1,000 to 1,000 | 1.00 | 1.00 to 1.00 | 6 | 0 |" in report
    assert "- machine B\n  - Processor: another one" in report
    assert "another one" in report
    assert "not compared with each other" in report
