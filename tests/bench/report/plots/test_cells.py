"""Pictures: cells keep their looks and their order, and no sample is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.cell import BASELINE
from bench.report import tables
from bench.report.plots import (
    imports,
    model_size,
    pareto,
    phases,
    strips,
    waiting,
)
from bench.report.plots.parts.cells import by_model, in_order, series_of
from bench.report.plots.parts.looks import looks_by_strategy, looks_of
from bench.report.plots.parts.scales import scale_of
from tests.bench.report.plots.drawn import cell, context_of, whole_run
from tests.bench.support import fakes

pytestmark = pytest.mark.drawing


def dots(figure, size):
    """How many markers of a size the figure has."""
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_transform() != axes.transAxes]
    return sum(len(line.get_xdata()) for line in lines if line.get_marker() != "None" and line.get_markersize() == size)


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


@pytest.mark.parametrize(
    ("totals", "shown"),
    [
        ([], []),
        ([0.0, 0.0], []),
        ([5.0, 4.0], []),
        ([5.0, 4.0, 0.5], [0.5]),
        ([5.0, 0.6, 0.4, 0.03, 0.04, 0.05], [0.03, 0.04, 0.05]),
        ([5.0, 0.6, 0.5, 0.4, 0.03, 0.04], [0.6, 0.5, 0.4, 0.03, 0.04]),
    ],
)
def test_the_fastest_half_is_magnified_until_it_can_be_seen(totals, shown):
    assert phases.magnified(totals) == shown


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
