"""The first screen of a report: one sentence, a line for each use, one picture, one table; whatever a run lacks."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.cell import BASELINE
from bench.report import html, terminal
from bench.report.document import Picture, Range, escape, one_line, unescape
from bench.report.first_screen.bars import LIGHT, Bar, to_svg
from bench.report.first_screen.lead import CAPTION, lead
from bench.report.making import make_document
from bench.report.markdown import render
from bench.stats.context import load_context
from tests.bench.report.recommend.samples import SERVICE_MEMORY, context_of, rounds
from tests.bench.support.html_pages import SVG, Page
from tests.conftest import ROOT

PLAIN = {"total": 4000.0, "wait": 100.0, "peak": 500.0}


def rows(context):
    """The table, by name."""
    return {str(row[0]): [str(cell) for cell in row[1:]] for row in lead(context).table.rows}


class TestHeadline:
    def test_the_number_the_strategy_the_vectors_and_the_memory(self):
        context = context_of(rounds(BASELINE, **PLAIN), rounds("lazy", total=100.0), rounds("progressive", total=90.0))
        assert lead(context).headline == (
            "First vector after 0.09 s instead of 4.0 s: progressive is 44 times faster than sentence-transformers, "
            "with the same vectors, in 60 MiB of memory, not 500."
        )

    @pytest.mark.parametrize(
        ("total", "said"),
        [
            (500.0, "First vector after 0.50 s instead of 4.0 s: lazy is 8.0 times faster than"),
            (3900.0, "First vector after 3.9 s instead of 4.0 s: lazy is about as fast as"),
            (8000.0, "First vector after 8.0 s instead of 4.0 s: lazy is 2.0 times slower than"),
        ],
    )
    def test_nothing_is_faster_by_name_only(self, total, said):
        context = context_of(rounds(BASELINE, **PLAIN), rounds("lazy", total=total))
        assert lead(context).headline.startswith(said)

    def test_vectors_of_eight_bits_are_not_called_the_same(self):
        quantized = [replace(each, facts={"precision": "int8"}) for each in rounds("quantized", cosine=0.9996)]
        context = context_of(rounds(BASELINE, **PLAIN), quantized)
        assert ", with 8-bit weights, in" in lead(context).headline
        assert rows(context)["quantized"][-1] == "8 bits"

    def test_vectors_that_were_not_compared_are_not_mentioned(self):
        assert "vectors" not in lead(context_of(rounds(BASELINE, **PLAIN), rounds("lazy", cosine=None))).headline

    def test_short_times_are_milliseconds(self):
        context = context_of(rounds(BASELINE, total=800.0, wait=1.0), rounds("lazy", total=100.0))
        assert "First vector after 100 ms instead of 800 ms" in lead(context).headline


class TestWhatIsMissing:
    def test_no_reference(self):
        context = context_of(rounds("lazy"), rounds("progressive", total=90.0))
        assert lead(context).headline == "First vector after 90.0 ms with progressive, in 60 MiB of memory."
        assert "Times faster" not in lead(context).table.headings
        assert set(lead(context).pictures or {}) == set()

    def test_one_strategy(self):
        first = lead(context_of(rounds(BASELINE, **PLAIN), rounds("lazy")))
        assert "lazy is 40 times faster" in first.headline
        assert first.uses is None
        assert list(first.pictures) == ["first-vector-light", "first-vector-dark"]

    def test_only_the_service(self):
        service = [replace(each, facts={"service_memory": SERVICE_MEMORY}) for each in rounds("service", total=40.0)]
        context = context_of(rounds(BASELINE, **PLAIN), service)
        assert "service is 100 times faster" in lead(context).headline
        assert rows(context)["service"][3] == "60.0 + 80.0"

    @pytest.mark.parametrize(
        ("scenario", "said"),
        [
            ({"scenario": "at_once"}, "First vector after 0.10 s instead of 4.0 s"),
            ({"scenario": "search_command"}, "First result after 0.10 s instead of 4.0 s"),
            (
                {"scenario": "think_time", "think_s": 1.0, "think_kind": "compute"},
                "Wait for the vector after other work: 50.0 ms with progressive",
            ),
            ({"scenario": "concurrent", "processes": 8}, "This run does not say how long the first vector takes."),
        ],
    )
    def test_other_scenarios(self, scenario, said):
        context = context_of(rounds(BASELINE, **PLAIN, **scenario), rounds("progressive", **scenario))
        assert lead(context).headline.startswith(said)

    def test_only_others(self):
        first = lead(context_of(rounds(BASELINE, **PLAIN)))
        assert first.headline == "No strategy of the loader has a valid sample."
        assert first.subject == "Models: org/minilm."

    def test_nothing(self):
        assert lead(context_of()).headline == "No cell has a valid sample: see below."
        failed = [replace(record, status="failed") for record in rounds("lazy")]
        assert lead(context_of(failed)).headline == "No cell has a valid sample: see below."

    def test_samples_that_failed_are_counted(self):
        failed = [replace(record, status="failed") for record in rounds("cached")]
        context = context_of(rounds("lazy"), failed)
        assert "1 of 2 combinations gave no valid sample; see *Fidelity*." in lead(context).notes

    def test_few_rounds_have_no_interval_to_draw(self):
        context = context_of(rounds(BASELINE, count=3, **PLAIN), rounds("lazy", count=3))
        assert "95 % interval" not in lead(context).table.headings

    def test_figures_that_are_all_alike_are_not_drawn(self):
        assert "95 % interval" not in lead(context_of(rounds("lazy"), rounds("cached"))).table.headings


class TestTable:
    def test_who_stands_where(self):
        noise = [4000.0, 3000.0, 5000.0, 4000.0, 4100.0, 3900.0, 4000.0, 4000.0]
        plain = [each for n, total in enumerate(noise, 1) for each in rounds(BASELINE, total=total)[n - 1 : n]]
        context = context_of(
            plain,
            rounds("fastembed", total=500.0, subject="fastembed", engine=""),
            rounds("import_numpy", subject="import_numpy", engine=""),
            rounds("progressive"),
            rounds("service", total=40.0),
            rounds("service_cold", total=140.0),
        )
        found = rows(context)
        assert list(found) == ["sentence-transformers", "fastembed", "progressive", "service"]
        assert found["progressive"] == ["100", "100 to 100", "40", "60.0", "equal"]
        drawn = lead(context).table.rows
        assert drawn[0][2].high == 1.0
        assert drawn[3][2].low == 0.0

    def test_a_use_that_nothing_was_measured_for_has_a_line(self):
        command = {"scenario": "search_command"}
        first = lead(context_of(rounds("lazy", **command), rounds("progressive", **command)))
        assert first.uses.rows[2] == ("A test suite", "-", "Nothing was measured in the scenario think_time or idle")

    def test_every_use_has_a_line(self):
        first = lead(context_of(rounds("lazy", count=10), rounds("progressive", count=10)))
        assert [row[:2] for row in first.uses.rows] == [
            ("A command line tool", "progressive"),
            ("A server", "progressive"),
            ("A test suite", "progressive"),
            ("A small machine", "progressive"),
        ]
        assert first.uses.rows[0][2] == "First vector after 100 ms; the default here, statistically tied with lazy"


@pytest.fixture(scope="module")
def specification():
    return load_context(ROOT / "reports" / "specification")


@pytest.mark.parametrize("name", ["reference/full", "cold"])
def test_the_terminal_shows_it_last_on_80_columns_and_24_lines(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 80)
    terminal.show(load_context(ROOT / "reports" / name), tmp_path / "report.md", quiet=False)
    lines = capsys.readouterr().out.splitlines()
    screen = lines[max(index for index, line in enumerate(lines) if line.startswith("First vector after")) :]
    text = " ".join(screen)
    assert len(screen) <= 23, "one line is left for the prompt"
    assert max(map(len, screen[:-1])) <= 80
    assert screen[-1].startswith("Report: ")
    for needed in (
        "times faster",
        "MiB of memory",
        "█",
        "A command line tool: progressive",
        "A small machine: quantized",
    ):
        assert needed in text


def test_markdown_and_html_show_the_same(specification):
    document = make_document(specification)
    source, page = render(document), html.render(document, dict.fromkeys(document.pictures, SVG))
    first = lead(specification)
    assert f"**{first.headline}**" in source
    assert f"![{CAPTION}](" in source
    texts = " ".join(Page(page).texts)
    for row in (*first.table.rows, *first.uses.rows):
        for cell in row:
            assert str(cell) in texts
    assert "░" not in texts
    assert source.index(first.uses.rows[0][2]) < source.index("plots/first-vector-light.svg") < source.index("## ")


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 40))
def test_a_range_always_has_a_block_in_its_place(one, other, columns):
    low, high = sorted((one, other))
    drawn = Range("", low, high).drawn(columns)
    assert re.fullmatch("░*█+░*", drawn)
    assert len(drawn) == columns
    assert abs(drawn.index("█") - low * columns) <= 1
    assert abs(drawn.rindex("█") + 1 - high * columns) <= 1


@given(st.text())
def test_escaping_can_be_undone(text):
    assert unescape(escape(text)) == one_line(text)


hostile = st.sampled_from(["<script>", "a&b", '"x"', "]]>", "\x00\x1b", "\ud800", "x" * 200, ""]) | st.text()


@given(hostile, hostile, st.lists(st.tuples(hostile, st.floats(0, 1e9), hostile), max_size=5))
def test_any_bars_make_a_picture_that_is_xml(title, subtitle, bars):
    drawn = to_svg(title, subtitle, [Bar(name, value, label, "a note") for name, value, label in bars], LIGHT)
    tree = ET.fromstring(drawn.encode())
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {"svg", "title", "rect", "text", "tspan"}
    widths = [float(rect.get("width")) for rect in tree.iter("{http://www.w3.org/2000/svg}rect")][1:]
    for (_, value, _), width in zip(bars, widths, strict=True):
        longest = max(value for _, value, _ in bars) or 1.0
        assert width == pytest.approx(max(452 * value / longest, 3.0), abs=0.06)


def test_a_picture_for_dark_pages_is_named_with_its_pair():
    picture = Picture("a-light", "caption", "a-dark")
    assert (picture.file, picture.names) == ("a-light.svg", ("a-light", "a-dark"))
    assert (Picture("a", "").file, Picture("a", "").names) == ("a.png", ("a",))
