"""Pictures: labels, waiting, memory and imports."""

import dataclasses
import itertools

import pytest

from bench.plan.cell import BASELINE
from bench.report.plots import (
    memory_timeline,
    model_size,
    waiting,
    waterfall,
)
from bench.report.plots.parts.labels import Box, place
from bench.report.profiles import Import
from tests.bench.report.plots.drawn import (
    MIB,
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

pytestmark = pytest.mark.drawing


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
