"""The sections and the picture made from profiling passes: absent without them, whole with them, safe with any text."""

import dataclasses
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.plan.cell import BASELINE
from bench.report.document import Document
from bench.report.markdown import render as render_markdown
from bench.report.plots import draw_all, imports, plots_of
from bench.report.profiles import OTHERS, CellImports, fold, leading_packages
from bench.report.sections import allocations as allocations_section
from bench.report.sections import imports as imports_section
from bench.report.sections.imports import import_tables
from bench.stats.context import Context
from bench.stats.summary import summarise
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of

BASE, LAZY = fakes.make_cell(BASELINE), fakes.make_cell("lazy")
MIB = 2**20


def text_of(section):
    """The section in Markdown, "" for none."""
    return render_markdown(Document("t", (), (section,))).removeprefix("# t\n\n") if section else ""


def context_of(records):
    return Context(manifest_of({"environments": {"": {}}}), records, summarise(records), flame_graphs={"": "."})


def imported(cell, **us_by_package):
    costs = [{"package": name, "self_us": us, "modules": 1} for name, us in us_by_package.items()]
    return fakes.make_record(cell, instrument="importtime", facts={"imports": costs})


def captured(cell, frames=7, **changes):
    figures = {
        "high_water_bytes": 209 * MIB,
        "by_allocator": {"calloc": MIB, "malloc": 120 * MIB, "mmap": 80 * MIB, "realloc": 8 * MIB},
        "top_frames": [
            {"frame": f"f{n} (pkg/a.py:{n})", "bytes": (50 - n) * MIB, "allocations": 1000 * n} for n in range(frames)
        ],
    }
    facts = {"allocations": figures, "flame_graph": "flamegraphs/a b-1.html"} | changes
    return fakes.make_record(cell, instrument="memray", facts=facts)


def table_rows(text):
    """Cells of each line of the first table."""
    lines = text[text.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_run_without_passes_has_neither_section_nor_picture(tmp_path):
    context = context_of([fakes.make_record(cell, number) for cell in (BASE, LAZY) for number in range(3)])
    assert text_of(imports_section.render(context)) == ""
    assert text_of(allocations_section.render(context)) == ""
    assert [plot.name for plot in plots_of(context)] == ["phases", "strips", "pareto"]
    draw_all(context, tmp_path / "plots")
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {plot.name for plot in plots_of(context)}


def test_a_run_with_a_pass_has_its_picture(tmp_path):
    context = context_of([fakes.make_record(LAZY), imported(LAZY, numpy=40_000)])
    assert "](plots/imports.png)" in text_of(imports_section.render(context))
    draw_all(context, tmp_path / "plots")
    assert {"imports.png", "imports.svg"} <= {path.name for path in (tmp_path / "plots").iterdir()}
    draw_all(context, tmp_path / "again")
    for path in (tmp_path / "plots").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_nothing_is_drawn_where_nothing_was_measured(tmp_path):
    context = context_of([imported(LAZY, numpy=40_000)])
    draw_all(context, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_cells_of_several_machines_stay_apart():
    records = [
        dataclasses.replace(imported(LAZY, numpy=us), machine=machine)
        for machine, us in (("a1", 40_000), ("b2", 70_000))
    ]
    context = Context(manifest_of({"environments": {"a1": {}, "b2": {}}}), records, summarise(records))
    assert table_rows(text_of(imports_section.render(context)))[0] == ["Package", "lazy, machine A", "lazy, machine B"]


def test_a_sample_that_was_taken_again_replaces_the_first():
    rows = import_tables(context_of([imported(LAZY, numpy=40_000), imported(LAZY, numpy=70_000)]))[0].rows
    assert rows == (("numpy", "70.0"), ("all imports", "70.0"))


def test_packages_below_one_percent_of_every_cell_are_summed():
    records = [
        fakes.make_record(BASE),
        imported(BASE, torch=990_000, small=4_000, tiny=4_000, numpy=2_000),
        imported(LAZY, numpy=98_500, small=500, loader=1_000),
    ]
    assert table_rows(text_of(imports_section.render(context_of(records)))) == [
        ["Package", "baseline", "lazy"],
        ["---", "---:", "---:"],
        ["torch", "990", "-"],
        ["numpy", "2.00", "98.5"],
        ["loader", "-", "1.00"],
        [OTHERS, "8.00", "0.50"],
        ["all imports", "1,000", "100"],
    ]


def test_a_table_without_others_does_not_name_them():
    rows = import_tables(context_of([imported(LAZY, numpy=1_000)]))[0].rows
    assert [row[0] for row in rows] == ["numpy", "all imports"]


def test_only_good_records_of_the_instrument_are_shown():
    failed = fakes.make_record(BASE, instrument="importtime", status="failed", facts={})
    empty = fakes.make_record(LAZY, instrument="importtime", facts={"imports": []})
    timed = fakes.make_record(LAZY, facts={"imports": [{"package": "p", "self_us": 1, "modules": 1}]})
    context = context_of([failed, empty, timed])
    assert text_of(imports_section.render(context)) == ""
    assert not imports.applies(context)


TIMES = st.dictionaries(st.sampled_from("abcdefghijklmno"), st.integers(-(10**9), 10**9).map(lambda us: us / 1000))


@given(st.lists(TIMES, min_size=1, max_size=4), st.integers(0, 8))
def test_folding_keeps_the_sum(times_ms, at_most):
    cells = [CellImports(f"s{index}", "", times) for index, times in enumerate(times_ms)]
    kept = leading_packages(cells, at_most)
    assert len(kept) <= at_most
    assert kept == [package for package in leading_packages(cells) if package in kept]
    for times in times_ms:
        folded = fold(times, kept)
        assert set(folded) == {*kept, OTHERS}
        assert sum(folded.values()) == pytest.approx(sum(times.values()), abs=1e-3)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(st.lists(st.dictionaries(st.text(min_size=1), st.integers(-(10**7), 10**9), min_size=1), min_size=1, max_size=4))
def test_any_packages_render(costs):
    records = [fakes.make_record(LAZY)]
    records += [imported(fakes.make_cell(f"s{index}"), **us) for index, us in enumerate(costs)]
    rows = table_rows(text_of(imports_section.render(context_of(records))))
    assert {len(row) for row in rows} == {1 + len(costs)}
    assert rows[-1][0] == "all imports"
    imports.draw(context_of(records))


def test_the_allocation_table():
    rows = table_rows(text_of(allocations_section.render(context_of([captured(BASE), captured(LAZY, flame_graph="")]))))
    largest = "malloc 120, mmap 80.0, realloc 8.00"
    assert rows == [
        ["Strategy", "High-water mark", "Largest allocators", "Flame graph"],
        ["---", "---:", "---:", "---"],
        ["baseline", "209", largest, "[flame graph](flamegraphs/a%20b-1.html)"],
        ["lazy", "209", largest, "-"],
    ]


def test_the_largest_frames_are_named():
    text = text_of(allocations_section.render(context_of([captured(BASE), captured(LAZY, frames=2)])))
    assert "VmHWM" in text
    assert "| baseline | f2 (pkg/a.py:2) | 48.0 | 2,000 |" in text
    assert "f3" not in text
    assert text.count("| lazy | f") == 2
    assert (
        text_of(allocations_section.render(context_of([fakes.make_record(LAZY, instrument="memray", facts={})]))) == ""
    )


HOSTILE = ["<script>alert(1)</script>", "a|b", "**bold**", "[x](http://y)", "`code`", "a\n\n# b", "$x$", "_hidden"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(hostile, tmp_path):
    cell = fakes.make_cell(hostile)
    capture = captured(cell, flame_graph=f"javascript:{hostile})")
    capture.facts["allocations"]["top_frames"][0]["frame"] = hostile
    capture.facts["allocations"]["by_allocator"][hostile] = 500 * MIB
    context = context_of([fakes.make_record(cell), imported(cell, **{hostile: 5}), imported(LAZY, numpy=5), capture])
    for section in (imports_section, allocations_section):
        text = text_of(section.render(context))
        assert hostile not in text or hostile in {"$x$", "_hidden"}
        assert "<script" not in text.replace("\\<script", "")
        assert "\n# b" not in text
        assert "](javascript:" not in text
        rows = table_rows(text)
        assert {len(row) for row in rows} == {len(rows[0])}
    figure = imports.draw(context)
    figure.savefig(tmp_path / "plot.png")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [" ".join(hostile.split()), "numpy", OTHERS]


def test_the_picture_magnifies_what_would_be_too_small_to_see():
    slow, fast = imported(BASE, torch=5_000_000, numpy=100_000), imported(LAZY, numpy=40_000)
    assert len(imports.draw(context_of([slow, fast])).axes) == 2
    assert len(imports.draw(context_of([slow, imported(LAZY, numpy=4_000_000)])).axes) == 1


def test_bars_are_as_long_as_the_imports_take():
    many = {f"p{n}": 1_000 * (20 - n) for n in range(12)}
    figure = imports.draw(context_of([imported(LAZY, **many)]))
    bars = figure.axes[0].patches
    assert len(bars) == 9, "eight packages and the others"
    assert sum(bar.get_width() for bar in bars) == pytest.approx(sum(many.values()) / 1e6)
    assert bars[-1].get_width() == pytest.approx((12 + 11 + 10 + 9) / 1000)
