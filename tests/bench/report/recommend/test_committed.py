"""What is recommended by the committed runs."""

import json

import pytest

from bench.plan.cell import BASELINE
from bench.report.choice.candidates import choices, figures
from bench.report.choice.uses import USES
from bench.report.sections.recommendation import render
from bench.report.shipped import to_shipped, to_text
from bench.stats.context import load_context
from tests.bench.report.recommend.samples import context_of, named, rounds
from tests.conftest import ROOT

KEYS = [use.key for use in USES]


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
