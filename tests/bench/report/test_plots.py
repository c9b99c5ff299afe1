"""Pictures: any records are drawn, the same ones give the same bytes, names from outside are text, no sample is
lost."""

import dataclasses
import itertools
import math
import warnings
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.patches import Circle

from bench.plan.cell import BASELINE, COMMAND
from bench.report import tables
from bench.report.document import Picture
from bench.report.plots import (
    PLOTS,
    draw_all,
    imports,
    memory_timeline,
    model_size,
    pareto,
    phases,
    pictures,
    plots_of,
    strips,
    waiting,
    waterfall,
)
from bench.report.plots.parts.cells import by_model, in_order, series_of
from bench.report.plots.parts.labels import Box, place
from bench.report.plots.parts.looks import looks_by_strategy, looks_of
from bench.report.plots.parts.scales import scale_of
from bench.report.plots.parts.texts import clean
from bench.report.profiles import Import
from bench.report.saving import any_script, save
from bench.stats.context import Context, load_context
from bench.stats.summary import summarise
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of
from tests.conftest import ROOT

MIB = 2**20
MODELS = {"small": "org/small", "large": "org/large"}
SIZES = {"model_bytes": {"org/small": 60 * MIB, "org/large": 400 * MIB}}


def context_of(records, **manifest):
    machines = {record.machine: {} for record in records} or {"": {}}
    return Context(manifest_of({"environments": machines, **manifest}), records, summarise(records))


def cell(strategy="lazy", model="small", **changes):
    subject = {BASELINE: "sentence_transformers", "import_numpy": "import_numpy"}.get(strategy, "embedding_loader")
    return fakes.make_cell(strategy, model=MODELS.get(model, model), model_key=model, subject=subject, **changes)


def at(think_s, kind="sleep"):
    return {"scenario": "think_time", "think_s": think_s, "think_kind": kind} if think_s else {"scenario": "at_once"}


def with_memory(item, points, **changes):
    return fakes.make_record(item, instrument="memory", facts={"memory_timeline": points}, **changes)


def with_tree(item, *imports):
    keys = ("name", "depth", "start_us", "self_us", "cumulative_us")
    tree = [dict(zip(keys, one, strict=True)) for one in imports]
    return fakes.make_record(item, instrument="importtime", facts={"import_tree": tree})


def whole_run():
    """Two models, every scenario and pass."""
    records = []
    for model in MODELS:
        for rank, strategy in enumerate((BASELINE, "progressive", "quantized", "import_numpy")):
            for number in range(3):
                total_ms = (4000.0, 97.0, 95.0, 70.0)[rank] * (2 if model == "large" else 1) + number
                scenarios = ({}, at(0), at(1.0), at(2.0, "compute"))
                records += [fakes.make_record(cell(strategy, model, **one), number, total_ms) for one in scenarios]
            records.append(with_memory(cell(strategy, model), [[0, 0, MIB], [9 * 10**7, 30 * MIB, 9 * MIB]]))
            imports = [("numpy", 0, 0, 20, 60), ("numpy.core", 1, 10, 40, 40)]
            records.append(with_tree(cell(strategy, model), *imports))
            records[-1].facts["imports"] = [{"package": "numpy", "self_us": 60, "modules": 2}]
    return context_of(records, **SIZES)


def dots(figure, size):
    """How many markers of a size the figure has."""
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_transform() != axes.transAxes]
    return sum(len(line.get_xdata()) for line in lines if line.get_marker() != "None" and line.get_markersize() == size)


def all_texts(figure):
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]


STRATEGIES = [BASELINE, "lazy", "progressive", "import_numpy", "somebody's own"]
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
    cleaned = clean(text)
    assert len(cleaned) <= 44
    assert clean(cleaned) == cleaned
    assert "\n" not in cleaned
    cleaned.encode("utf-8")


def test_a_long_name_keeps_both_its_ends():
    assert clean("a" * 50 + "b" * 50, 11) == "aaaaa\N{HORIZONTAL ELLIPSIS}bbbbb"


def test_the_same_strategy_looks_the_same_in_every_run():
    one = context_of([fakes.make_record(cell(name)) for name in ("lazy", "mine", BASELINE)])
    other = context_of([fakes.make_record(cell(name)) for name in ("mine", "cached", "lazy")])
    for name in ("lazy", "mine"):
        assert looks_by_strategy(one)[name] == looks_by_strategy(other)[name]
    known = list(looks_by_strategy(context_of([])).values())
    assert len({look.marker for look in known}) == len(known), "told apart without colours"


def test_two_engines_of_a_strategy_share_colour_and_marker_but_not_all():
    records = [fakes.make_record(cell(engine=engine)) for engine in ("auto", "onnx", "torch")]
    looks = list(looks_of(context_of(records), map(series_of, records)).values())
    assert len({(look.colour, look.marker) for look in looks}) == 1
    assert len(set(looks)) == 3


def test_models_stand_in_the_order_of_the_tables():
    totals = {"c": 300.0, "a": 500.0, "b": 400.0}
    records = [fakes.make_record(cell("lazy", "none"))]
    records += [fakes.make_record(cell(BASELINE, model), 1, total) for model, total in totals.items()]
    imported = [{"package": "numpy", "self_us": 60, "modules": 2}]
    for record in reversed(list(records)):
        records.append(fakes.make_record(record.cell, instrument="importtime", facts={"imports": imported}))
    context = context_of(records)
    order = [name for name, _ in tables.cells_by_model(context, context.measured)]
    assert order == ["none", "c", "a", "b"]
    assert [group.title for group in by_model(context, reversed(context.measured))] == order
    for plot in (phases, strips, pareto, imports):
        titles = [axes.get_title(loc="left") for axes in plot.draw(context).axes]
        assert [title for title in titles if title] == order


def test_models_of_one_short_name_keep_apart():
    records = [fakes.make_record(fakes.make_cell(model=model, model_key="same")) for model in ("org/a", "org/b")]
    context = context_of(records)
    assert [group.title for group in by_model(context, context.measured)] == ["org/a", "org/b"]
    assert len(phases.draw(context).axes) == 2


def test_no_sample_is_lost():
    context = whole_run()
    assert dots(strips.draw(context), 4) == 2 * 4 * 3
    assert dots(phases.draw(context), 3.5) == 2 * (2 * 4 * 3)  # the second time in the magnified column
    assert dots(model_size.draw(context), 4) == 2 * 4 * 3
    # At once in the panels of both kinds of work; nobody waits for import_numpy.
    assert dots(waiting.draw(context), 4) == 2 * 3 * 3 * (2 + 2)
    assert dots(pareto.draw(context), 4) == 2 * 4 * 3 + 2 * 3 * 3  # the fast ones once more


def test_no_bar_or_sample_is_cut_off():
    records = [fakes.make_record(cell(BASELINE, model), 1, total) for model, total in (("a", 3000.0), ("b", 9000.0))]
    assert [axes.get_xlim()[1] > 9.0 for axes in phases.draw(context_of(records)).axes] == [True, True]


def test_thirty_cells_of_five_models_stay_on_a_page():
    records = [
        fakes.make_record(cell(f"s{number}", f"m{model}"), 1, 90.0 + 40 * number * (model + 1))
        for model in range(5)
        for number in range(12)
    ]
    for plot in (phases, strips):
        figure = plot.draw(context_of(records))
        assert figure.get_figheight() * 150 <= 1800
        assert len({axes.get_position().y0 for axes in figure.axes}) == 5


def test_disturbed_samples_have_a_marker_of_their_own_and_replaced_ones_are_hollow():
    records = [fakes.make_record(cell(), number) for number in range(3)]
    records.append(fakes.make_record(cell(), 3, contamination="busy"))
    records += [fakes.make_record(cell(), 4, 900.0, contamination="busy"), fakes.make_record(cell(), 4, attempt=1)]
    records.append(fakes.make_record(cell(), 5, 5000.0, is_warmup=True))
    figure = strips.draw(context_of(records))
    drawn = {line.get_marker(): list(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert drawn["v"] == [100.0] * 4
    assert drawn["x"] == [100.0]
    assert drawn["o"] == [900.0]
    assert 5000.0 not in [value for values in drawn.values() for value in values]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[2:] == ["Disturbed, but counts", "Disturbed and replaced"]


def test_a_wide_axis_is_logarithmic_with_plain_numbers():
    records = [fakes.make_record(cell(BASELINE), 1, 4800.0), fakes.make_record(cell(), 1, 60.0)]
    figure = strips.draw(context_of(records))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["50", "100", "200", "500", "1,000", "2,000", "5,000"]
    assert low < 60 < 4800 < high
    assert strips.draw(context_of(records[1:])).axes[0].get_xscale() == "linear"


@given(st.lists(st.floats(-1e9, 1e30), max_size=6), st.booleans())
def test_a_scale_shows_every_value(values, from_zero):
    scale = scale_of(values, from_zero=from_zero)
    assert scale.low < scale.high
    assert all(-1e-9 <= scale.fraction(value) <= 1 + 1e-9 for value in values)
    if scale.is_log:
        assert min(values) > 0
        ticks = scale.ticks()
        assert ticks == sorted(ticks)
        assert 2 <= len(ticks) <= 12


@given(st.integers(0, 50))
def test_samples_stand_in_their_order_around_the_middle(count):
    places = in_order(count, 0.3)
    assert len(places) == count
    assert places == sorted(places)
    assert sum(places) == pytest.approx(0.0, abs=1e-9)
    assert all(abs(place) <= 0.3 + 1e-9 for place in places)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    best = pareto.front(points)
    for point in points:
        beaten = any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
        assert (point in best) == (not beaten)
    assert best == sorted(best)
    assert [peak for _, peak in best] == sorted((peak for _, peak in best), reverse=True)


def test_what_is_magnified_beside_a_panel_is_labelled_there_alone():
    totals = {BASELINE: 4800.0, "fastembed": 500.0, "lazy": 90.0, "progressive": 91.0, "quantized": 92.0}
    left, right = pareto.draw(context_of([fakes.make_record(cell(name), 1, ms) for name, ms in totals.items()])).axes
    assert {text.get_text() for text in left.texts} == {"baseline", "fastembed", "magnified at right"}
    assert {text.get_text() for text in right.texts} == {"lazy", "progressive", "quantized"}
    together = pareto.draw(context_of([fakes.make_record(cell(name), 1, 90.0) for name in totals])).axes[0]
    assert {text.get_text() for text in together.texts} == set(totals)


def test_what_embeds_nothing_is_not_in_the_front():
    records = [fakes.make_record(cell(name), 1, total) for name, total in (("import_numpy", 70.0), ("lazy", 90.0))]
    axes = pareto.draw(context_of(records)).axes[0]
    front = next(line for line in axes.get_lines() if line.get_zorder() == 2 and line.get_marker() == "None")
    assert set(front.get_xdata()) == {90.0, axes.get_xlim()[1]}


def overlaps(boxes):
    return [(one, two) for index, one in enumerate(boxes) for two in boxes[index + 1 :] if one.overlap(two) > 1e-6]


def test_labels_of_crowded_points_do_not_overlap():
    points = [(60.0 + number % 3, 100.0 + number % 2) for number in range(9)]
    names = [f"strategy {number}" for number in range(9)]
    boxes = place(points, names, (430.0, 310.0), 8.5)
    assert not overlaps(boxes)
    assert boxes == place(points, names, (430.0, 310.0), 8.5)
    for box in boxes:
        assert box.left >= 0
        assert box.right <= 430
        assert not any(box.overlap(Box(x - 5, y - 5, x + 5, y + 5)) for x, y in points)


def test_labels_are_placed_even_where_there_is_no_room():
    points = [(5.0, 5.0)] * 12
    assert len(place(points, ["a long name " * 4] * 12, (60.0, 20.0), 8.5)) == 12


def test_waiting_begins_at_once_and_leaves_idle_out():
    records = [fakes.make_record(cell(**scenario), 1) for scenario in ({}, at(0), at(0.5), at(2.0))]
    axes = waiting.draw(context_of(records)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.5", "2"]
    medians = next(line for line in axes.get_lines() if line.get_markersize() == 9)
    assert list(medians.get_xdata()) == [0, 1, 2]
    assert list(medians.get_ydata()) == [80.0] * 3


def test_one_think_time_alone_is_a_picture():
    figure = waiting.draw(context_of([fakes.make_record(cell(name, **at(1.0))) for name in STRATEGIES]))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1"]
    low, high = figure.axes[0].get_xlim()
    assert all(low < x < high for line in figure.axes[0].get_lines() for x in line.get_xdata())
    assert "1 s sleep" not in " ".join(all_texts(figure))


def test_strategies_stand_apart_by_as_many_as_were_measured_at_a_think_time():
    few, many = STRATEGIES[1:3], [name for name in STRATEGIES if name != "import_numpy"]
    records = [fakes.make_record(cell(name, **at(0.5))) for name in few]
    records += [fakes.make_record(cell(name, **at(1.0))) for name in many]
    axes = waiting.draw(context_of(records)).axes[0]
    places = [x for line in axes.get_lines() if line.get_markersize() == 9 for x in line.get_xdata()]
    for position, names in ((0, few), (1, many)):
        near = sorted(x for x in places if round(x) == position)
        assert len(near) == len(names)
        assert sum(near) / len(near) == pytest.approx(position)
        assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(near))


def test_no_strategy_stands_far_from_the_size_of_its_model():
    for large in (100 * MIB, 400 * MIB):  # on a linear and on a logarithmic axis
        sizes = {"org/small": 60 * MIB, "org/large": large}
        context = dataclasses.replace(whole_run(), manifest=context_of([], model_bytes=sizes).manifest)
        axes = model_size.draw(context).axes[0]
        drawn = {x for line in axes.get_lines() for x in line.get_xdata()}
        assert all(min(abs(x / size - 1) for size in (60, large / MIB)) <= 0.0401 for x in drawn)
        assert {60.0, large / MIB} < drawn, "what meets no others stands at the size itself"


def test_the_size_of_a_model_is_measured_or_what_preparing_it_wrote():
    prepared = [
        {"model": "org/small", "precision": "int8", "bytes": 1 * MIB},
        {"model": "org/small", "precision": "float32", "bytes": 60 * MIB},
        {"model": "org/large", "precision": "float32", "error": "no"},
    ]
    context = context_of([], preparations=prepared, model_bytes={"org/other": 7 * MIB})
    assert [model_size.size_mib(context, name) for name in ("org/small", "org/large", "org/other")] == [60.0, 0.0, 7.0]
    assert model_size.size_mib(context_of([], preparations=None, model_bytes=None), "org/small") == 0.0


def test_memory_is_stacked_in_mib_with_the_marks_there_are():
    marks = {"spawn": 0, "imported": 20_000_000, "first_embedding": 80_000_000}
    record = with_memory(cell(), [[90_000_000, 3 * MIB, 5 * MIB], [0, MIB, 0], ["x", 0, 0], [1, 2]], marks_ns=marks)
    figure = memory_timeline.draw(context_of([record]))
    (axes,) = figure.axes
    lower, upper = (area.get_paths()[0].vertices for area in axes.collections)
    assert lower[:, 0].max() == 90.0
    assert lower[:, 1].max() == 3.0
    assert upper[:, 1].max() == 8.0
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [20.0, 80.0]
    assert axes.get_title(loc="left") == "lazy: at most 8 MiB"
    assert axes.get_xlim() == (0.0, pytest.approx(1.03 * 90))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[2:] == ["Imported", "First vector"]


def test_memory_has_at_most_nine_panels_of_one_model_and_the_baseline_first():
    records = [with_memory(cell(f"s{number}"), [[0, 1, 1]]) for number in range(12)]
    records += [with_memory(cell(BASELINE), [[0, 1, 1]]), with_memory(cell(BASELINE, "large"), [[0, 1, 1]])]
    figure = memory_timeline.draw(context_of(records))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 9
    assert titles[0].startswith("baseline, small:")
    assert titles[1].startswith("s0, small:")


def tree_of(*costs):
    return [Import(f"m{number}", 0, 0, cost, cost) for number, cost in enumerate(costs)]


def test_short_imports_are_left_out_and_the_order_stays():
    shown = waterfall.leading_imports(tree_of(500, 1, 400, 9, 90), 1000)
    assert [one.name for one in shown] == ["m0", "m2", "m4"]
    assert len(waterfall.leading_imports(tree_of(*range(100, 140)), 4780)) == 25
    assert waterfall.leading_imports(tree_of(-5, 0), 0) == []


def test_an_import_that_only_passes_another_on_is_left_out():
    lengths = {
        "top": (0, 990),
        "passes": (1, 980),
        "also": (2, 960),
        "works": (3, 950),
        "part": (4, 400),
        "end": (1, 10),
    }
    tree = [Import(name, depth, 0, 1, length) for name, (depth, length) in lengths.items()]
    shown = [(one.name, one.depth) for one in waterfall.leading_imports(tree, 1000)]
    assert shown == [("top", 0), ("works", 1), ("part", 2), ("end", 1)]


def test_the_waterfall_shows_baseline_and_progressive_with_clamped_bars():
    odd = [("a", 3, 1000, 99_000, 5000), ("b", 4, 2000, -7, 3000)]
    records = [with_tree(cell(name), *odd) for name in ("lazy", "progressive", BASELINE, "import_numpy")]
    figure = waterfall.draw(context_of(records))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["baseline", "progressive"]
    several = waterfall.draw(context_of([*records, fakes.make_record(cell(model="large"))]))
    assert [axes.get_title(loc="left") for axes in several.axes] == ["baseline, small", "progressive, small"]
    bars = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches]
    assert bars == [(0.0, 5.0), (0.0, 5.0), (1.0, 3.0), (4.0, 0.0)]
    names = [text.get_text().rstrip("\N{NO-BREAK SPACE}") for text in figure.axes[0].get_yticklabels()]
    assert names == ["a", "\N{NO-BREAK SPACE}" * 2 + "b"]


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
