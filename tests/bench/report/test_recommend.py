"""What is recommended: on made-up records whose best strategy is known, and on the committed runs."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.plan.cell import BASELINE, MEANINGS
from bench.report.choice.candidates import choices, figures
from bench.report.choice.reasons import join, kept_loaded, sentence, show_cosine
from bench.report.choice.recommend import recommend
from bench.report.choice.uses import USES
from bench.report.document import Prose, Table
from bench.report.first_screen.lead import lead
from bench.report.sections.recommendation import render
from bench.report.shipped import to_shipped, to_text
from bench.stats.context import Context, load_context
from bench.stats.summary import summarise
from loader.strategies import STRATEGIES
from tests.bench.support import fakes
from tests.bench.support.manifests import manifest_of
from tests.conftest import ROOT

MIB = 2**20
ENVIRONMENT = {
    "system": "Linux 6",
    "processor": "made up",
    "processors_usable": 2,
    "python": "CPython 3.11.0",
    "packages": {"torch": "2.0", "numpy": None},
}
MANIFEST = {"environments": {"m": ENVIRONMENT}, "command": "python -m bench", "cells": []}
KEYS = [use.key for use in USES]


def sample(strategy="lazy", number=1, *, total=100.0, init=10.0, wait=50.0, peak=60.0, cosine=1.0, stall=0.0, **cell):
    """Return a record with these figures, in ms and MiB."""
    marks = {
        "spawn": 0,
        "python_up": 5_000_000,
        "started": round((5 + init) * 1e6),
        "requested": round((total - wait) * 1e6),
        "first_embedding": round(total * 1e6),
    }
    if cell.get("scenario") == "search_command":
        marks["results"] = marks["first_embedding"]
    cell = fakes.make_cell(strategy, **cell)
    return fakes.make_record(
        cell,
        number,
        marks_ns=marks,
        memory={"steady": {"peak_rss_bytes": round(peak * MIB), "rss_anon_bytes": MIB}},
        cosines=() if cosine is None else (1.0, cosine),
        heartbeat={"total_stall_s": stall / 1000, "longest_stall_s": stall / 2000},
        machine="m",
    )


def rounds(*arguments, count=8, **changes):
    return [sample(*arguments, number, **changes) for number in range(1, count + 1)]


def context_of(*records, **manifest):
    flat = [record for group in records for record in group]
    return Context(manifest_of(MANIFEST | manifest), flat, summarise(flat))


def found(context):
    """What is recommended, by the key of the use."""
    (choice,) = choices(context)
    return {each.use.key: each for each in recommend(choice)}


def named(context):
    return {key: each.winner.name if each.winner else None for key, each in found(context).items()}


def first(found):
    """The default, and who was compared with it."""
    return found.steps[0]


class TestWhoIsNamed:
    def test_a_better_one_than_the_default(self):
        context = context_of(rounds("progressive", total=100.0), rounds("lazy", total=80.0))
        each = found(context)["command_line_tool"]
        assert (each.winner.name, each.equals, each.is_default) == ("lazy", (), False)
        assert sentence(each) == "First vector after 80.0 ms. Measurably better than progressive (100 ms)."

    def test_results_count_before_totals(self):
        search = {"scenario": "search_command"}
        context = context_of(
            rounds("progressive", total=100.0),
            rounds("cached", total=50.0),
            rounds("progressive", total=200.0, **search),
            rounds("cached", total=300.0, **search),
        )
        each = found(context)["command_line_tool"]
        assert each.winner.name == "progressive"
        assert sentence(each) == "First result after 200 ms. Measurably the best. Next: cached (300 ms)."

    def test_who_asks_at_once_is_looked_at_before_who_waits(self):
        context = context_of(
            rounds("progressive", total=100.0),
            rounds("cached", total=50.0),
            rounds("progressive", total=90.0, scenario="at_once"),
            rounds("cached", total=100.0, scenario="at_once"),
        )
        assert named(context)["command_line_tool"] == "progressive"

    def test_a_service_needs_exact_vectors_and_a_short_wait(self):
        context = context_of(
            rounds("lazy", wait=80.0),
            rounds("background", wait=10.0),
            rounds("quantized", wait=1.0, cosine=0.9996),
        )
        each = found(context)["service"]
        assert each.winner.name == "background"
        assert each.inexact == (("quantized", 0.9996),)
        assert first(each).names("worse") == ("lazy",)
        assert sentence(each) == (
            "First request, once the model is loaded, takes 10.0 ms. Measurably the best. Next: lazy (80.0 ms). "
            "Vectors equal the original's, "
            "unlike those of quantized."
        )

    def test_a_test_suite_waits_least_after_other_work(self):
        think = {"scenario": "think_time", "think_s": 1.0, "think_kind": "compute"}
        context = context_of(rounds("background", wait=10.0, **think), rounds("progressive", wait=50.0, **think))
        each = found(context)["test_suite"]
        assert each.winner.name == "background"
        assert "Measurably better than progressive (50.0 ms)" in sentence(each)

    def test_a_small_machine_is_told_what_it_costs(self):
        context = context_of(rounds("lazy", peak=70.0), rounds("quantized", peak=40.0, cosine=0.9996, init=7.0))
        each = found(context)["small_machine"]
        assert each.winner.name == "quantized"
        assert "Its vectors are close to the original's, not equal (lowest cosine 0.99960)" in sentence(each)

    @pytest.mark.parametrize(
        ("use", "default"),
        [("command_line_tool", "progressive"), ("service", "background"), ("small_machine", "quantized")],
    )
    def test_a_tie_is_said_and_the_default_named(self, use, default):
        context = context_of(*(rounds(name, wait=10.0, count=10) for name in to_choose_from))
        each = found(context)[use]
        others = tuple(name for name in each.use.order if name != default)
        assert (each.winner.name, each.is_default) == (default, True)
        assert set(each.equals) >= set(others)
        assert f"The default here, statistically tied with {join(list(each.equals))}." in sentence(each)

    def test_what_stands_in_for_a_default_that_was_not_measured(self):
        context = context_of(*(rounds(name, count=10) for name in ("lazy", "cached", "background")))
        each = found(context)["command_line_tool"]
        assert (each.winner.name, each.equals) == ("background", ("cached", "lazy"))
        assert "In place of the default, progressive, not measured, statistically tied with" in sentence(each)

    @pytest.mark.parametrize(("slower", "winner"), [(1.09, "progressive"), (1.11, "lazy")])
    def test_ten_per_cent_are_the_margin(self, slower, winner):
        context = context_of(rounds("lazy", total=1000.0), rounds("progressive", total=1000.0 * slower))
        each = found(context)["command_line_tool"]
        assert each.winner.name == winner
        assert ("perhaps by less than 10 %" in sentence(each)) == (winner == "progressive")

    def test_who_is_better_by_less_than_the_margin_is_not_called_tied(self):
        times = {"progressive": 1080.0, "cached": 1080.0, "lazy": 1000.0}
        each = found(context_of(*(rounds(name, total=total, count=10) for name, total in times.items())))
        assert each["command_line_tool"].equals == ("cached",)
        assert sentence(each["command_line_tool"]) == (
            "First vector after 1,080 ms. The default here, statistically tied with cached; lazy better, but perhaps "
            "by less than 10 %."
        )

    @pytest.mark.parametrize(("more", "winner"), [(1.9, "progressive"), (2.1, "lazy")])
    def test_two_milliseconds_are_nothing(self, more, winner):
        context = context_of(rounds("lazy", total=10.0, wait=1.0), rounds("progressive", total=10.0 + more, wait=1.0))
        assert named(context)["command_line_tool"] == winner

    def test_the_interval_has_to_say_so(self):
        """20 % faster in most rounds, but not in enough of them."""
        slow = [120.0, 120.0, 120.0, 120.0, 120.0, 70.0, 75.0, 80.0]
        unsure = [sample("progressive", number, total=total) for number, total in enumerate(slow, 1)]
        for records, winner in ((unsure, "progressive"), (rounds("progressive", total=120.0), "cached")):
            assert named(context_of(records, rounds("cached", total=100.0)))["command_line_tool"] == winner

    def test_the_more_strategies_the_more_rounds_it_takes(self):
        """Eight equal signs have a chance of 1 in 256: enough for one comparison, and not for four at once."""
        pair = (rounds("progressive", total=120.0), rounds("lazy", total=90.0))
        others = [rounds(name, total=120.0) for name in ("background", "cached", "quantized")]
        assert named(context_of(*pair))["command_line_tool"] == "lazy"
        many = found(context_of(*pair, *others))["command_line_tool"]
        assert (many.winner.name, many.rounds_needed) == ("progressive", 10)
        assert first(many).names("ahead") == ("lazy",)
        assert sentence(many) == (
            "First vector after 120 ms. The default here, statistically tied with background, cached and quantized; "
            "lazy better, but in too few rounds to be named (8 of 10)."
        )

    @pytest.mark.parametrize(("factor", "verdict"), [(7.0, "worse"), (1 / 7.0, "ahead")])
    def test_one_contrary_round_hides_no_rival_that_is_many_times_slower_or_faster(self, factor, verdict):
        """The joint interval of ten rounds and five strategies includes 1 then; the rival's own does not."""
        times = [100.0 * factor] * 9 + [100.0 / (1.2 if factor > 1 else 1 / 1.2)]
        odd = [sample("lazy", number, total=total) for number, total in enumerate(times, 1)]
        others = (rounds(name, count=10) for name in ("progressive", "background", "cached", "quantized"))
        each = found(context_of(odd, *others))["command_line_tool"]
        assert each.winner.name == "progressive"
        (rival,) = (rival for rival in first(each).rivals if rival.name == "lazy")
        assert (rival.verdict, rival.ratio) == (verdict, pytest.approx(factor))
        assert rival.interval.low > 1 or rival.interval.high < 1
        assert "lazy" not in each.equals

    @pytest.mark.parametrize(("contrary", "verdict"), [(95.0, "worse"), (75.0, "tied")])
    def test_a_contrary_round_counts_by_its_size(self, contrary, verdict):
        """As noise does: one round of ten with a larger difference than all the others may mean that there is none."""
        times = [120.0] * 9 + [contrary]
        odd = [sample("lazy", number, total=total) for number, total in enumerate(times, 1)]
        each = found(context_of(odd, rounds("progressive", count=10)))["command_line_tool"]
        assert first(each).names(verdict) == ("lazy",)

    def test_of_several_better_ones_the_first_unless_another_beats_it_too(self):
        slow = rounds("progressive", total=200.0, count=10)
        each = found(context_of(slow, rounds("cached", total=100.0, count=10), rounds("lazy", total=100.0, count=10)))
        assert (each["command_line_tool"].winner.name, each["command_line_tool"].equals) == ("cached", ("lazy",))
        assert "(200 ms), statistically tied with lazy." in sentence(each["command_line_tool"])
        each = found(context_of(slow, rounds("cached", total=100.0, count=10), rounds("lazy", total=50.0, count=10)))
        assert [step.holder for step in each["command_line_tool"].steps] == ["progressive", "cached", "lazy"]

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_few_rounds_have_no_interval_and_the_default_is_named(self, count):
        context = context_of(
            rounds("progressive", total=120.0, count=count), rounds("cached", total=100.0, count=count)
        )
        each = found(context)["command_line_tool"]
        assert each.winner.name == "progressive"
        (rival,) = first(each).rivals
        assert (rival.verdict, rival.interval, rival.ratio) == ("unknown", None, pytest.approx(1 / 1.2))

    def test_a_rival_with_too_few_rounds_is_not_called_tied(self):
        """As when a sample was disturbed in each of its attempts."""
        few = rounds("lazy", total=900.0, count=5)
        context = context_of(rounds("progressive", count=10), rounds("cached", count=10), few)
        each = found(context)["command_line_tool"]
        assert first(each).names("unknown") == ("lazy",)
        assert sentence(each) == (
            "First vector after 100 ms. The default here, statistically tied with cached; too few common rounds to "
            "judge lazy."
        )

    def test_rounds_that_have_nothing_in_common_tell_nothing(self):
        context = context_of([sample("progressive", 1, total=120.0)], [sample("cached", 2, total=100.0)])
        each = found(context)["command_line_tool"]
        assert each.winner.name == "progressive"
        assert (first(each).rivals[0].ratio, first(each).rivals[0].n) == (None, 0)


class TestWhatIsMissing:
    def test_a_scenario_that_was_not_measured_leaves_the_next(self):
        each = found(context_of(rounds("lazy"), rounds("cached")))["command_line_tool"]
        assert (each.criterion.key, each.scenario) == ("total_ms", "idle")
        assert each.winner.name == "cached"

    def test_a_use_none_of_whose_scenarios_was_measured(self):
        command = {"scenario": "search_command"}
        each = found(context_of(rounds("lazy", **command), rounds("cached", **command)))["test_suite"]
        assert each.winner is None
        assert sentence(each) == "Nothing was measured in the scenario think_time or idle."

    def test_a_candidate_without_the_figure_that_others_have_is_out(self):
        context = context_of(rounds("lazy"), rounds("cached"), rounds("cached", scenario="search_command"))
        each = found(context)["command_line_tool"]
        assert (each.winner.name, each.unmeasured) == ("cached", ("lazy",))

    def test_without_a_reference_vectors_are_not_asked_for(self):
        each = found(context_of(rounds("lazy", cosine=None), rounds("background", cosine=None, wait=1.0)))["service"]
        assert (each.winner.name, each.inexact) == ("background", ())

    def test_no_exact_vectors(self):
        context = context_of(rounds("quantized", cosine=0.9996), rounds("lazy", cosine=0.9997))
        each = found(context)["service"]
        assert each.winner is None
        assert sentence(each) == "No measured strategy has vectors equal to the original's."
        assert found(context)["small_machine"].winner.name == "quantized"

    def test_all_failed(self):
        failed = [replace(record, status="failed", message="boom") for record in rounds("lazy")]
        context = context_of(failed)
        assert set(named(context).values()) == {None}
        (block,) = render(context).blocks
        assert block == Prose("None, because no cell of the loader has a valid sample.")

    def test_nothing_of_ours(self):
        assert render(context_of(rounds(BASELINE))) is None
        assert render(context_of()) is None

    def test_one_strategy_is_no_choice(self):
        (block,) = render(context_of(rounds("lazy"))).blocks
        assert block.markdown == "None, because only lazy was measured; a choice needs several strategies."

    def test_peers_cold_caches_and_other_threads_are_no_candidates(self):
        context = context_of(
            rounds("lazy"),
            rounds("cached", total=50.0, cache_state="cold_disk"),
            rounds("progressive", total=50.0, threads=1),
            rounds("fastembed", total=50.0, subject="fastembed", engine=""),
        )
        (choice,) = choices(context)
        assert [candidate.name for candidate in choice.candidates] == ["lazy"]

    def test_the_only_state_of_the_cache_counts_and_several_without_the_usual_one_do_not(self):
        cold = rounds("lazy", cache_state="cold_disk")
        assert named(context_of(cold))["command_line_tool"] == "lazy"
        (choice,) = choices(context_of(cold, rounds("lazy", cache_state="cold_weights")))
        assert choice.candidates == ()
        assert "default" in choice.problem

    def test_the_service_is_not_among_them(self):
        alone = context_of(rounds("service", total=20.0), rounds("service_cold"))
        (choice,) = choices(alone)
        assert choice.candidates == ()
        assert "only the model service" in render(alone).blocks[0].markdown.lower()
        beside = context_of(rounds("service", total=20.0), rounds("lazy"), rounds("cached", total=50.0))
        assert named(beside)["command_line_tool"] == "cached"

    def test_of_several_think_times_the_one_that_most_were_measured_in(self):
        def think(seconds):
            return {"scenario": "think_time", "think_s": seconds, "think_kind": "compute"}

        context = context_of(rounds("lazy", **think(1.0)), rounds("lazy", **think(2.0)), rounds("cached", **think(2.0)))
        assert found(context)["test_suite"].scenario == "think_time 2 s compute"


class TestSeveral:
    def test_models_and_machines_are_told_apart(self):
        fast = [replace(record, machine="n") for record in rounds("lazy", total=50.0) + rounds("cached", total=90.0)]
        records = [*rounds("lazy", total=100.0), *rounds("cached", total=80.0), *fast]
        context = context_of(records, environments={"m": ENVIRONMENT, "n": ENVIRONMENT})
        tables = [block for block in render(context).blocks if isinstance(block, Table)]
        assert [table.title for table in tables] == [
            "Recommendation: minilm, machine A",
            "Recommendation: minilm, machine B",
        ]
        assert [table.rows[0][1] for table in tables] == ["cached", "lazy"]
        assert to_shipped(context)["models"][0]["uses"][0]["choice"] == "cached", "the first machine's"

    def test_engines_are_told_in_brackets(self):
        context = context_of(rounds("lazy"), rounds("lazy", total=900.0, engine="onnx"))
        assert named(context)["command_line_tool"] == "lazy (auto)"

    def test_of_equal_engines_the_one_that_nobody_has_to_name(self):
        context = context_of(rounds("lazy", engine="aaa"), rounds("lazy"), rounds("background", engine="aaa"))
        each = found(context)["command_line_tool"]
        assert (each.winner.name, each.equals) == ("background (aaa)", ("lazy (auto)", "lazy (aaa)"))


# Tens, so that medians are alike or more than 2 apart, whatever they are multiplied by.
figure = st.integers(1, 1000).map(lambda value: value * 10.0)
some = st.fixed_dictionaries(
    {"total": figure.map(lambda value: value + 20_000), "wait": figure, "init": figure, "peak": figure}
)
to_choose_from = [str(name) for name in STRATEGIES if name not in MEANINGS]
measured = st.dictionaries(
    st.sampled_from([*to_choose_from, *MEANINGS]), st.lists(some, min_size=1, max_size=8), min_size=1, max_size=4
)
slow_to_make = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)


def records_of(cells, factor=1.0):
    return [
        sample(name, number, **{key: value * factor for key, value in values.items()})
        for name, samples in cells.items()
        for number, values in enumerate(samples, 1)
    ]


class TestProperties:
    @slow_to_make
    @given(measured)
    def test_each_step_is_among_those_that_beat_the_one_before(self, cells):
        (choice,) = choices(context_of(records_of(cells)))
        for each in recommend(choice):
            for before, after in pairwise(each.steps):
                assert (after.holder, *(rival.name for rival in after.rivals)) == before.names("better")
            if each.winner:
                assert each.steps[-1].holder == each.winner.name
                assert not each.steps[-1].names("better")
                everybody = {each.steps[0].holder, *(rival.name for rival in each.steps[0].rivals)}
                inexact = {name for name, _ in each.inexact}
                assert everybody | set(each.unmeasured) | inexact == {one.name for one in choice.candidates}
            assert sentence(each).endswith(".")

    @slow_to_make
    @given(measured, st.randoms())
    def test_the_order_of_records_does_not_matter(self, cells, random):
        records = records_of(cells)
        shuffled = list(records)
        random.shuffle(shuffled)
        assert to_shipped(context_of(shuffled)) == to_shipped(context_of(records))

    @slow_to_make
    @given(measured, st.sampled_from([2.0, 8.0, 64.0]))
    def test_the_scale_does_not_matter_above_what_is_noticed(self, cells, factor):
        for one, other in zip(
            found(context_of(records_of(cells))).values(),
            found(context_of(records_of(cells, factor))).values(),
            strict=True,
        ):
            assert [(step.holder, step.names("better", "ahead")) for step in one.steps] == [
                (step.holder, step.names("better", "ahead")) for step in other.steps
            ]

    @slow_to_make
    @given(measured, st.sampled_from(to_choose_from))
    def test_who_takes_half_of_everything_in_enough_rounds_is_named(self, cells, best):
        half = {
            key: 0.5 * min(each[key] for samples in cells.values() for each in samples)
            for key in ("total", "wait", "init", "peak")
        }
        many = {name: (samples * 12)[:12] for name, samples in cells.items()}
        context = context_of(records_of({**many, best: [half] * 12}))
        for key in ("command_line_tool", "service", "small_machine"):
            assert found(context)[key].winner.name == best

    @slow_to_make
    @given(measured)
    def test_the_section_has_a_row_for_each_use(self, cells):
        blocks = render(context_of(records_of(cells))).blocks
        if len(cells.keys() - MEANINGS.keys()) > 1:
            assert [row[0] for row in blocks[0].rows] == [use.title for use in USES]
            assert all(len(row) == len(blocks[0].headings) for row in blocks[0].rows)
        else:
            assert isinstance(blocks[0], Prose)


SERVICE_MEMORY = {"rss_bytes": 80 * MIB, "rss_anon_bytes": 20 * MIB}


def test_the_first_screen_is_of_the_default_model_wherever_it_stands():
    other = {"model_key": "other", "model": "org/other"}
    ours = {"model_key": "ours", "model": "sentence-transformers/all-MiniLM-L6-v2"}
    for order in ((other, ours), (ours, other)):
        first_screen = lead(context_of(*(rounds("lazy", **model) for model in order)))
        assert first_screen.subject.startswith("sentence-transformers/all-MiniLM-L6-v2, ")
        assert "Also measured: other; see" in first_screen.notes[0]
    first_screen = lead(context_of(rounds("lazy", **other), rounds("lazy", model_key="third", model="org/third")))
    assert first_screen.subject.startswith("org/other, ")


class TestKeptLoaded:
    def service(self, memory=SERVICE_MEMORY, **changes):
        return [replace(each, facts={"service_memory": memory}) for each in rounds("service", **changes)]

    def said(self, *records):
        (choice,) = choices(context_of(*records))
        return kept_loaded(choice, recommend(choice)[0])

    def test_what_it_changes_and_what_it_takes(self):
        assert self.said(self.service(total=30.0), rounds("lazy"), rounds("cached", total=50.0)) == (
            "With the service running: first vector after 30.0 ms (50.0 ms with cached). The service itself takes "
            "80.0 MiB (20.0 MiB private), once for all programs."
        )

    def test_in_the_scenarios_that_both_were_measured_in(self):
        command = {"scenario": "search_command"}
        slow = rounds("cached", total=200.0)
        times = (self.service(total=40.0, **command), self.service(total=10.0), rounds("lazy", **command))
        assert "first result after 40.0 ms (100 ms with lazy). The" in self.said(*times, slow)
        assert (
            "first result after 40.0 ms (100 ms with lazy) and first vector after 10.0 ms (100 ms with lazy). The"
        ) in self.said(*times, rounds("lazy"), slow)
        assert self.said(self.service(total=10.0), rounds("lazy", **command), slow) == ""

    def test_memory_that_is_not_known(self):
        assert self.said(self.service(None), rounds("lazy")).endswith("(100 ms with lazy).")
        assert "private" not in self.said(self.service({"rss_bytes": MIB}), rounds("lazy"))

    def test_without_one(self):
        assert self.said(rounds("lazy"), rounds("service_cold")) == ""

    def test_it_stands_in_the_report(self):
        context = context_of(self.service(total=30.0), rounds("lazy"), rounds("cached"))
        blocks = render(context).blocks
        assert any(isinstance(block, Prose) and "repeatedly" in block.markdown for block in blocks)
        assert "repeatedly" in lead(context).notes[0]


@pytest.mark.parametrize("hostile", ["<script>", "a|b", "**b**", "[x](http://y)", "a\n\n# b"])
def test_hostile_names_stay_text(hostile):
    section = render(context_of(rounds(hostile), rounds("lazy"), rounds("lazy", model_key=hostile, model=hostile)))
    for block in section.blocks:
        if isinstance(block, Prose):
            assert hostile not in block.markdown


def test_words():
    assert [join(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert [show_cosine(value) for value in (1.0, 0.999989, 0.99999, 0.5)] == [
        "1.00000",
        "0.99998",
        "0.99999",
        "0.50000",
    ]


class TestCommittedRuns:
    @pytest.mark.parametrize("name", ["reference/full", "specification", "cold", "reference/concurrent"])
    def test_they_render(self, name):
        section = render(load_context(ROOT / "reports" / name))
        assert section.title == "Recommendation"
        assert section.blocks

    def test_figures_are_those_of_the_tables(self):
        specification = load_context(ROOT / "reports" / "specification")
        (choice,) = choices(specification)
        shown = {candidate.name: figures(candidate) for candidate in choice.candidates}
        summary = next(s for s in specification.measured if s.cell.label() == "background/auto/minilm/cpu/idle")
        assert shown["background (auto)"].total_ms == summary.median("total_ms")
        assert shown["background (auto)"].ratio == summary.ratios["total_ms"]

    def test_nobody_is_sent_to_pytorch(self):
        names = named(load_context(ROOT / "reports" / "specification"))
        assert list(names) == KEYS
        assert all(name.endswith("(auto)") for name in names.values())


class TestShipped:
    def test_what_is_in_it(self):
        context = context_of(
            rounds(BASELINE, total=4000.0, wait=100.0), rounds("lazy", total=100.0), rounds("cached", total=80.0)
        )
        shipped = json.loads(to_text(context))
        (model,) = shipped["models"]
        assert [use["use"] for use in model["uses"]] == KEYS
        assert model["uses"][0]["choice"] == "cached"
        cached = model["strategies"][-1]
        assert (cached["name"], cached["total_ms"], cached["ratio_to_baseline"]) == ("cached", 80.0, 0.02)
        assert shipped["measured"] == {
            "date": "2026-01-01",
            "rounds": 8,
            "processor": "made up",
            "processors": 2,
            "system": "Linux",
            "python": "CPython 3.11.0",
            "packages": {"torch": "2.0"},
        }

    def test_of_nothing(self):
        assert to_shipped(context_of())["models"] == []
