"""Pictures: any records are drawn, the same ones give the same bytes, and names from outside are text."""

import dataclasses
import math
import warnings
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.patches import Circle

from bench.plan.cell import COMMAND
from bench.report.document import Picture
from bench.report.plots import (
    PLOTS,
    draw_all,
    pictures,
    plots_of,
)
from bench.report.plots.parts.texts import drawable_text
from bench.report.saving import any_script, save
from bench.stats.context import load_context
from tests.bench.report.plots.drawn import (
    MIB,
    SIZES,
    STRATEGIES,
    all_texts,
    at,
    cell,
    context_of,
    whole_run,
    with_memory,
    with_tree,
)
from tests.bench.support import fakes
from tests.conftest import ROOT

pytestmark = pytest.mark.drawing

NUMBERS = st.one_of(st.integers(-(10**6), 10**12), st.sampled_from([0, 1]))


FACTS = st.fixed_dictionaries(
    {
        "memory_timeline": st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=5),
        "import_tree": st.lists(
            st.fixed_dictionaries(
                {"name": st.text(max_size=5), "depth": st.integers(-1, 40)}
                | dict.fromkeys(("start_us", "self_us", "cumulative_us"), NUMBERS)
            ),
            max_size=5,
        ),
        "imports": st.lists(
            st.fixed_dictionaries({"package": st.text(max_size=5), "self_us": NUMBERS, "modules": st.just(1)}),
            max_size=3,
        ),
    }
)


ANY_CELL = st.builds(
    lambda strategy, model, scenario, engine: cell(strategy, model, engine=engine, **scenario),
    st.sampled_from(STRATEGIES),
    st.sampled_from(["small", "large", "unknown"]),
    st.sampled_from([{"scenario": "idle"}, at(0), at(0.5), at(2.0, "compute"), {"scenario": COMMAND}]),
    st.sampled_from(["auto", "onnx"]),
)


ANY_RECORD = st.builds(
    lambda item, number, marks, memory, **changes: fakes.make_record(
        item,
        number,
        marks_ns=marks,
        memory={"steady": {"peak_rss_bytes": memory}} if memory is not None else {},
        **changes,
    ),
    ANY_CELL,
    st.integers(0, 2),
    st.dictionaries(
        st.sampled_from(["spawn", "python_up", "started", "ready", "requested", "first_embedding", "exit"]), NUMBERS
    ),
    st.none() | st.integers(0, 10**12),
    status=st.sampled_from(["ok", "ok", "ok", "failed"]),
    is_warmup=st.sampled_from([False, False, True]),
    instrument=st.sampled_from(["", "", "", "memory", "importtime"]),
    contamination=st.sampled_from(["", "busy"]),
    machine=st.sampled_from(["one", "one", "two"]),
    facts=FACTS,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=10)
@given(st.lists(ANY_RECORD, max_size=10))
def test_any_records_are_drawn_whether_or_not_the_picture_applies(records):
    context = context_of(records, **SIZES)
    with any_script():
        for plot in PLOTS:
            plot.draw(context).draw_without_rendering()


def test_a_whole_run_has_every_picture_and_the_same_one_twice(tmp_path):
    for folder in ("one", "two"):
        draw_all(whole_run(), tmp_path / folder)
    files = sorted((tmp_path / "one").iterdir())
    assert [path.name for path in files] == sorted(f"{plot.name}.{end}" for plot in PLOTS for end in ("png", "svg"))
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_where_a_figure_lies_in_memory_does_not_show(tmp_path):
    """Both figures are alive, so nothing in them has the same address."""
    figures = []
    for name in ("one", "other"):
        figure, axes = plt.subplots()
        axes.barh(["a", "b"], [1.0, 2.0], clip_path=Circle((1, 0.5), 0.4, transform=axes.transData))
        figures.append(figure)
        save(figure, tmp_path, name)
    for figure in figures:
        plt.close(figure)
    one, other = ((tmp_path / f"{name}.svg").read_text() for name in ("one", "other"))
    assert one == other
    assert 'clip-path="url(#clip0)"' in one


def test_pictures_are_named_and_those_without_data_left_out():
    found = pictures(whole_run(), "pareto", "phases")
    assert [picture.name for picture in found] == ["pareto", "phases"]
    assert all(isinstance(picture, Picture) and picture.caption for picture in found)
    started = context_of([fakes.make_record()])
    assert [picture.name for picture in pictures(started, "waiting", "strips")] == ["strips"]
    with pytest.raises(KeyError, match="nowhere"):
        pictures(context_of([]), "nowhere")


def applying(records, **manifest):
    return [plot.name for plot in plots_of(context_of(records, **manifest))]


def test_each_picture_applies_to_what_it_shows():
    idle = fakes.make_record(cell())
    assert applying([]) == []
    assert applying([dataclasses.replace(idle, status="failed")]) == []
    assert applying([idle]) == ["phases", "strips", "pareto"]
    assert applying([dataclasses.replace(idle, memory={})]) == ["phases", "strips"]
    assert applying([fakes.make_record(cell(scenario=COMMAND))]) == ["strips"]
    assert applying([fakes.make_record(cell(scenario="concurrent"))]) == []
    assert "waiting" not in applying([fakes.make_record(cell(**at(0)))])
    assert applying([fakes.make_record(cell(**at(1.0)))]) == ["strips", "waiting"]
    both = [idle, fakes.make_record(cell(model="large"))]
    assert "model_size" in applying(both, **SIZES)
    assert "model_size" not in applying(both)
    assert "model_size" not in applying([idle], **SIZES)
    assert "memory_timeline" in applying([idle, with_memory(cell(), [[0, 0, 0]])])
    assert "memory_timeline" not in applying([idle, with_memory(cell(), [])])
    assert "memory_timeline" not in applying([idle, with_memory(cell(), [[0, 0, 0]], status="failed")])
    assert "waterfall" in applying([idle, with_tree(cell(), ("a", 0, 0, 1, 1))])
    assert "waterfall" not in applying([idle, with_tree(cell(), ("a", 0, 0, -1, -1))])


HOSTILE = [
    "$x^$",
    "$",
    "_hidden",
    "a\n\tb\x00\x1b[31m",
    "<b>&amp;</b>",
    "]]>",
    "\N{GRINNING FACE}\N{HANGUL SYLLABLE GA}",
    "\ud800",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "long " * 100,
    "\\frac{",
    "%s {0}",
    "",
]


@pytest.mark.slow
def test_names_from_outside_are_text_in_png_and_in_svg(tmp_path):
    records = []
    for number, name in enumerate(HOSTILE):
        item = cell(name, HOSTILE[number % 4], engine=name)
        records += [fakes.make_record(dataclasses.replace(item, **one)) for one in ({}, at(1.0, name or "sleep"))]
        records.append(with_memory(cell(name, HOSTILE[0]), [[0, 1, 2], [1, 2, 3]]))
        records.append(with_tree(cell(name, HOSTILE[0]), *((name, depth, 0, 5, 50) for depth in range(3))))
        records[-1].facts["imports"] = [{"package": name, "self_us": 5 + number, "modules": 1}]
    sizes = {record.cell.model: (1 + number) * MIB for number, record in enumerate(records)}
    context = context_of(records, model_bytes=sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_all(context, tmp_path)
    for plot in PLOTS:
        tree = ElementTree.fromstring((tmp_path / f"{plot.name}.svg").read_bytes())
        assert (tmp_path / f"{plot.name}.png").stat().st_size > 1000
        shown = [text for element in tree.iter() if element.tag.endswith("text") for text in element.itertext()]
        assert not any("\x1b" in text or len(text) > 160 for text in shown)
        if plot.name in {"strips", "phases", "pareto", "waiting"}:
            assert {"$x^$, $x^$", "_hidden, _hidden"} <= {text.strip() for text in shown}, "strategy and engine"


@given(st.text())
def test_cleaned_text_is_short_and_stays_clean(text):
    cleaned = drawable_text(text)
    assert len(cleaned) <= 44
    assert drawable_text(cleaned) == cleaned
    assert "\n" not in cleaned
    cleaned.encode("utf-8")


def test_a_long_name_keeps_both_its_ends():
    assert drawable_text("a" * 50 + "b" * 50, 11) == "aaaaa\N{HORIZONTAL ELLIPSIS}bbbbb"


def test_machines_keep_apart_in_every_picture():
    records = [dataclasses.replace(record, machine=machine) for machine in ("m", "n") for record in whole_run().records]
    context = context_of(records, **SIZES)
    for plot in PLOTS:
        if plot.name not in {"memory_timeline", "waterfall"}:
            assert any("machine B" in text for text in all_texts(plot.draw(context))), plot.name


@pytest.mark.parametrize("name", ["reference/full", "specification", "cold"])
def test_the_published_runs_are_drawn(name):
    context = load_context(ROOT / "reports" / name)
    assert {"phases", "strips", "pareto"} <= {plot.name for plot in plots_of(context)}
    for plot in plots_of(context):
        figure = plot.draw(context)
        assert figure.get_figheight() * 150 <= 1800
        assert not any(math.isnan(value) for axes in figure.axes for value in axes.get_xlim())
