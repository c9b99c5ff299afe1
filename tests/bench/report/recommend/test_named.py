"""What is recommended: on made-up records whose best strategy is known, it is named."""

import pytest

from bench.report.choice.reasons import join, sentence
from tests.bench.report.recommend.samples import context_of, found, named, rounds, sample, to_choose_from


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
