"""What is recommended where something is missing, or several models were measured."""

from dataclasses import replace

import pytest

from bench.plan.cell import BASELINE
from bench.report.choice.candidates import choices
from bench.report.choice.reasons import join, kept_loaded, sentence, show_cosine
from bench.report.choice.recommend import recommend
from bench.report.document import Prose, Table
from bench.report.first_screen.lead import lead
from bench.report.sections.recommendation import render
from bench.report.shipped import to_shipped
from tests.bench.report.recommend.samples import ENVIRONMENT, MIB, SERVICE_MEMORY, context_of, found, named, rounds


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
