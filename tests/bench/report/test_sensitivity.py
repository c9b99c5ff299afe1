"""What a second run would see: against the code that compares runs, and on samples whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.environment import Environment
from bench.data.manifest import Manifest
from bench.data.metrics import leading_metric
from bench.plan.cell import BASELINE
from bench.report.document import Prose, Table
from bench.report.sections.sensitivity import meaning, render
from bench.report.sensitivity import DRAWS, EFFECT, EFFECTS, RELIABLE, _lower_ends, _rounds_needed, sensitivities
from bench.stats.comparison import Criteria, compare
from bench.stats.context import Context, load_context
from bench.stats.pairing import Side, bring_together
from bench.stats.shifts import independent_shift
from bench.stats.summary import summarise
from loader.strategies import STRATEGIES
from tests.bench.support import fakes
from tests.conftest import ROOT

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell(BASELINE)
NUMPY = fakes.make_cell("import_numpy", subject="import_numpy", engine="")
MANIFEST = Manifest(environments={"m": Environment()})


def records_of(cell, totals):
    return [fakes.make_record(cell, number, total, machine="m") for number, total in enumerate(totals, 1)]


def context_of(*records):
    flat = [record for group in records for record in group]
    return Context(MANIFEST, flat, summarise(flat))


def only(context, criteria=None):
    (found,) = sensitivities(context, criteria)
    return found


def noisy(count=20, spread=0.05, middle=100.0, seed=3):
    return [middle * math.exp(value) for value in np.random.default_rng(seed).normal(0, spread, count)]


class TestAgainstTheComparison:
    @pytest.mark.parametrize("count", [10, 13, 40])
    @pytest.mark.parametrize("alpha", [0.025, 0.002])
    def test_lower_ends_are_those_of_the_shift(self, count, alpha):
        logs = np.log(noisy(count))
        draws = logs[np.random.default_rng(1).integers(count, size=(DRAWS, 2, count))]
        expected = [math.log(independent_shift(base, head, alpha).low) for base, head in draws[:20]]
        assert _lower_ends(list(logs), alpha)[:20] == pytest.approx(expected)

    @pytest.mark.parametrize("alpha", [0.025, 0.002, 0.00001])
    def test_rounds_needed_are_those_of_the_comparison(self, alpha):
        needed = _rounds_needed(alpha)
        for count, is_open in ((needed, False), (needed - 1, True)):
            assert (independent_shift([0.0] * count, [0.0] * count, alpha).high == math.inf) == is_open

    @pytest.mark.parametrize(
        "name", ["reference/full", "cold", "reference/concurrent", "baseline/head", "specification"]
    )
    def test_what_is_compared_is_what_the_comparison_compares(self, name):
        context = load_context(ROOT / "reports" / name)
        found = sensitivities(context)
        assert found
        for each in found:
            side = Side(context, each.machine)
            samples = bring_together(replace_gate(side), replace_gate(side), each.cell, each.metric, 0.025)
            assert (len(samples.base), samples.reference) == (each.n, each.reference)
            limit = Criteria().limit(each.metric, samples.base_median)
            assert each.limit == pytest.approx(limit)

    def test_a_real_comparison_agrees_where_the_answer_is_clear(self):
        """Without noise to speak of, what is seen in all draws is over its limit in a comparison of two runs."""
        totals = noisy(20, 0.002)
        base, head = (
            Context(MANIFEST, records, summarise(records))
            for records in (records_of(LAZY, totals), records_of(LAZY, [1.1 * value for value in totals]))
        )
        total = compare(base, head, Criteria()).differences[0]
        assert (total.metric.key, total.verdict) == ("total_ms", "over")
        assert only(base).called(0.1) == 1.0
        assert only(base).limit == total.limit


def replace_gate(side):
    """The side as that of a run of its own: the arms of a gate are paired by round."""
    return Side(replace(side.context, manifest=replace(side.context.manifest, gate=None, arm=None)), side.machine)


class TestWhatIsSeen:
    def test_without_noise_every_change_is(self):
        found = only(context_of(records_of(LAZY, [100.0] * 12)))
        assert found.noise == 0.0
        assert [found.seen(effect) for effect in EFFECTS] == [1.0] * len(EFFECTS)
        assert found.seen(0.0) == 0.0
        assert found.smallest_seen == EFFECTS[0]
        assert meaning(found) == "+10 % would be seen, even +1 %"

    def test_what_is_below_the_limit_is_not_called(self):
        found = only(context_of(records_of(LAZY, [100.0] * 12)))
        assert (found.called(0.02), found.called(0.05)) == (0.0, 1.0)
        small = only(context_of(records_of(LAZY, [25.0] * 12)))
        assert small.limit == pytest.approx(1.08), "2 ms of 25"
        assert (small.called(0.07), small.called(0.10)) == (0.0, 1.0)

    def test_noise_hides(self):
        found = only(context_of(records_of(LAZY, noisy(12, 0.5))))
        assert found.seen(EFFECT) < 0.5
        assert found.smallest_seen is None
        assert meaning(found) == "even twice the time could be missed"

    def test_more_rounds_see_more(self):
        few, many = (only(context_of(records_of(LAZY, noisy(count, 0.08)))) for count in (10, 60))
        assert few.seen(EFFECT) < many.seen(EFFECT)

    def test_more_figures_see_less(self):
        """Those of one cell are judged together; other cells make no difference."""
        totals = noisy(12, 0.06)
        three = only(context_of(records_of(LAZY, totals)))
        one = only(context_of(records_of(LAZY, totals)), Criteria(metrics=("total_ms",)))
        assert three.seen(EFFECT) < one.seen(EFFECT)
        cells = [fakes.make_cell("lazy", think_s=float(number)) for number in range(1, 15)]
        crowd = sensitivities(context_of(records_of(LAZY, totals), *(records_of(cell, totals) for cell in cells)))
        assert crowd[0].lows == three.lows

    def test_equal_runs_rarely_raise_an_alarm(self):
        found = only(context_of(records_of(LAZY, noisy(30, 0.1))), Criteria(metrics=("total_ms",)))
        assert 0.0 < found.seen(0.0) <= 0.06, "0.025 by design, of 400 draws"

    def test_drift_of_the_machine_within_the_run_cancels(self):
        slow = [1.0 + number / 10 for number in range(20)]
        mine, theirs = [100 * factor for factor in slow], [4000 * factor for factor in slow]
        beside = only(context_of(records_of(PLAIN, theirs), records_of(LAZY, mine)))
        assert (beside.reference, beside.seen(EFFECT)) == (PLAIN, 1.0)
        assert only(context_of(records_of(LAZY, mine))).seen(EFFECT) < 0.5

    def test_import_numpy_stands_in_for_the_reference(self):
        found = only(context_of(records_of(NUMPY, [70.0] * 12), records_of(LAZY, [100.0] * 12)))
        assert found.reference == NUMPY

    def test_peers_and_references_are_not_asked_about(self):
        assert sensitivities(context_of(records_of(PLAIN, [1.0] * 12), records_of(NUMPY, [1.0] * 12))) == []

    @pytest.mark.parametrize("count", [1, 2, 9])
    def test_too_few_rounds(self, count):
        context = context_of(records_of(LAZY, noisy(count)))
        found = only(context)
        assert not found.can_be_told
        assert found.seen(1.0) == 0.0
        assert meaning(found) == f"too few rounds: {count} of 10"
        (block,) = render(context).blocks
        assert isinstance(block, Prose)
        assert block.markdown.startswith(f"Unknown: this run has at most {count} round")

    def test_only_rounds_that_the_reference_has_count(self):
        found = only(context_of(records_of(PLAIN, [4000.0] * 10), records_of(LAZY, [100.0] * 25)))
        assert found.n == 10

    def test_all_failed(self):
        failed = [replace(record, status="failed") for record in records_of(LAZY, [100.0] * 12)]
        assert sensitivities(context_of(failed)) == []
        assert render(context_of(failed)) is None
        assert render(context_of()) is None


totals = st.lists(st.floats(50, 150), min_size=10, max_size=16)
quick = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)


class TestProperties:
    @quick
    @given(totals)
    def test_power_grows_with_the_change(self, values):
        found = only(context_of(records_of(LAZY, values)))
        shares = [found.seen(effect) for effect in (0.0, *EFFECTS)]
        assert shares == sorted(shares)
        assert all(found.called(effect) <= found.seen(effect) for effect in EFFECTS)
        smallest = found.smallest_seen
        assert smallest is None or (found.seen(smallest) >= RELIABLE and smallest in EFFECTS)

    @quick
    @given(totals, st.randoms())
    def test_the_order_of_records_does_not_matter(self, values, random):
        records = records_of(LAZY, values) + records_of(PLAIN, [4000.0 + value for value in values])
        shuffled = list(records)
        random.shuffle(shuffled)
        assert only(context_of(shuffled)) == only(context_of(records))

    @quick
    @given(totals, st.sampled_from([2.0, 16.0]))
    def test_the_scale_does_not_matter(self, values, factor):
        found, scaled = (only(context_of(records_of(LAZY, [k * v for v in values]))) for k in (1.0, factor))
        assert scaled.lows == pytest.approx(found.lows, abs=1e-6)
        assert scaled.noise == pytest.approx(found.noise, abs=1e-6)

    @quick
    @given(totals)
    def test_the_same_records_give_the_same_figures(self, values):
        context = context_of(records_of(LAZY, values))
        assert sensitivities(context) == sensitivities(context)


class TestSection:
    def test_of_the_reference(self):
        context = load_context(ROOT / "reports" / "reference" / "full")
        table, prose = render(context).blocks
        assert isinstance(table, Table)
        names = dict.fromkeys(row[0].partition(",")[0] for row in table.rows)
        assert list(names) == [*map(str, STRATEGIES), "service_cold"]
        assert all(len(row) == len(table.headings) for row in table.rows)
        assert set(table.details) <= set(table.headings)
        for word in ("bench.gate", "gate-power.md", "bootstrap", "from day to day"):
            assert word in prose.markdown

    def test_memory_is_called_memory(self):
        cell = fakes.make_cell("lazy", scenario="concurrent", processes=8)
        assert leading_metric(cell).key == "together_mib"
        records = [
            replace(record, memory={"together": {"pss_bytes": round(size * 2**20)}})
            for record, size in zip(records_of(cell, [1.0] * 12), noisy(12, 0.7), strict=True)
        ]
        found = only(context_of(records))
        assert found.reference is None
        assert "memory" in meaning(found)

    def test_a_cell_with_too_few_rounds_beside_others(self):
        other = fakes.make_cell("cached")
        context = context_of(records_of(LAZY, [100.0] * 12), records_of(other, [100.0] * 3))
        table = render(context).blocks[0]
        assert table.rows[1][4:] == ("-", "-", "-", "-", "too few rounds: 3 of 10")
