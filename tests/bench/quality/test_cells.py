"""``suite=quality``: which cells there are, and how they are measured."""

import dataclasses
import re

import pytest
from omegaconf import OmegaConf

from bench.errors import ConfigError
from bench.plan.cell import BASELINE, MEANINGS
from bench.plan.config import QUALITY, NamedConf, QualityConf, ScenarioConf
from bench.quality.run import describe, measure_cells, quality_cells
from loader import LoadingStrategy
from loader.engines import AUTO
from loader.strategies import STRATEGIES
from tests.bench.quality.runs import CELL, FACTS, FIGURES, REFERENCE_CELL, REFERENCE_FIGURES, conf
from tests.bench.support import fakes
from tests.conftest import ROOT

pytestmark = pytest.mark.process


class TestCells:
    def test_each_model_has_one_reference_before_its_cells(self):
        jobs = [conf(engine=e, model=m, device=d) for e in ("numpy", "x") for m in ("a", "b") for d in ("cuda", "cpu")]
        cells = quality_cells([*jobs, conf(engine="x", model="a", scenario=ScenarioConf("at_once"))])
        assert [(cell.model_key, cell.is_baseline) for cell in cells] == [
            *(("a", first) for first in (True, False, False, False, False)),
            *(("b", first) for first in (True, False, False, False, False)),
        ]
        assert {cell.device for cell in cells if cell.is_baseline} == {"cpu"}
        assert len({cell.label() for cell in cells}) == len(cells)

    @pytest.mark.parametrize(
        "change", [{"suite": NamedConf("none")}, {"quality": QualityConf(30, None, 60.0)}, {"run_name": "other"}]
    )
    def test_what_belongs_to_the_run_cannot_be_swept(self, change):
        with pytest.raises(ConfigError, match="cannot be swept"):
            quality_cells([conf(), conf(**change)])

    def test_the_default_covers_every_engine_and_precision(self):
        params = OmegaConf.load(ROOT / "conf" / "suite" / "quality.yaml").hydra.sweeper.params
        left_out = re.fullmatch(r"glob\(\*,exclude=\[(.*)\]\)", params.strategy)[1].split(",")
        assert params.engine == f"glob(*,exclude={AUTO})"
        for name in left_out:
            spec = STRATEGIES[LoadingStrategy("service" if name in MEANINGS else name)]
            assert spec.precision == STRATEGIES[LoadingStrategy.LAZY].precision
        assert "lazy" not in left_out


def answer(figures=FIGURES, **facts):
    return fakes.make_outcome({"status": "ok", "facts": FACTS | facts, "figures": dataclasses.asdict(figures)})


class Display:
    def __init__(self):
        self.lines, self.problems = [], 0

    def begin(self, text):
        self.lines.append(text)

    def end(self, text, *, is_problem):
        self.lines.append(text)
        self.problems += is_problem


def run_cells(outcomes, cells=(REFERENCE_CELL, CELL), unprepared=()):
    """Return the records, the cells that were executed and the display."""
    written, asked, display = [], [], Display()

    def execute(cell):
        asked.append(cell)
        outcome = outcomes[cell.strategy]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    try:
        measure_cells(cells, dict(unprepared), execute, written.append, display)
    except KeyboardInterrupt:
        assert any(isinstance(outcome, KeyboardInterrupt) for outcome in outcomes.values())
    return written, asked, display


class TestMeasuringCells:
    def test_answers_become_records(self):
        written, asked, display = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": answer()})
        assert [record.cell for record in written] == asked == [REFERENCE_CELL, CELL]
        assert [record.figures for record in written] == [REFERENCE_FIGURES, FIGURES]
        assert written[1].facts == FACTS
        assert display.problems == 0
        assert display.lines[-1] == "lazy/numpy/minilm/cpu/quality  mean cosine 0.9900000, MRR@10 0.5000"

    @pytest.mark.parametrize(
        ("outcome", "status", "message"),
        [
            (fakes.make_outcome(None, exit_code=-9), "failed", "exit code -9"),
            (fakes.make_outcome(None, timed_out=True), "timeout", "killed"),
            (fakes.make_outcome({"status": "unsupported", "message": "no such engine"}), "unsupported", "no such"),
            (fakes.make_outcome({"status": "invalid", "message": "a vector is zero"}), "invalid", "zero"),
            (answer(engine="other"), "invalid", "engine numpy was requested, but other answered"),
        ],
    )
    def test_failures_are_records(self, outcome, status, message):
        written, _, display = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": outcome})
        assert written[1].status == status
        assert message in written[1].message
        assert written[1].figures is None
        assert display.problems == 1
        assert status in describe(written[1])

    def test_without_a_reference_there_is_nothing_to_compare_with(self):
        failed = fakes.make_outcome({"status": "failed", "message": "no torch"})
        other = fakes.make_cell("lazy", engine="numpy", model="org/other", model_key="other", scenario=QUALITY)
        written, asked, _ = run_cells({BASELINE: failed, "lazy": answer()}, (REFERENCE_CELL, CELL, other))
        assert [record.status for record in written] == ["failed", "failed", "ok"]
        assert written[0].message == "no torch"
        assert "nothing to compare with" in written[1].message
        assert asked == [REFERENCE_CELL, other], "no process is started in vain"

    def test_a_model_that_is_nowhere_starts_no_process(self):
        written, asked, _ = run_cells({}, unprepared={CELL.model: "org/minilm is nowhere"})
        assert [record.status for record in written] == ["failed", "failed"]
        assert {record.message for record in written} == {"org/minilm is nowhere"}
        assert asked == []

    def test_what_was_measured_before_an_interruption_is_kept(self):
        written, _, _ = run_cells({BASELINE: answer(REFERENCE_FIGURES), "lazy": KeyboardInterrupt()})
        assert [record.cell for record in written] == [REFERENCE_CELL]
