"""Cells, answers and runs of the quality suite, made up."""

from bench.data.quality_records import QualityFigures
from bench.plan.cell import BASELINE
from bench.plan.config import QUALITY, BenchConf, ModelConf, NamedConf, QualityConf, ScenarioConf
from tests.bench.support import fakes

# Made up, in the form of the benchmark: two columns more than needed in one line, quotes that mean nothing.
STS = (
    'news\tx\t2024\t1\t5.0\tA "man is eating.\tA man eats.\n'
    "news\tx\t2024\t2\t0.2\tA plane takes off.\tThe cat sleeps on a sofa.\textra\textra\n"
    "news\tx\t2024\t3\t3.5\tA girl plays the guitar.\tA girl plays an instrument.\n"
    "news\tx\t2024\t4\t1.0\tA dog runs in a park.\tA man eats.\n"
)


def conf(strategy="lazy", engine="numpy", model="minilm", device="cpu", **changes):
    fields = {
        "strategy": NamedConf(strategy),
        "engine": NamedConf(engine),
        "model": ModelConf(model, f"org/{model}"),
        "device": NamedConf(device),
        "scenario": ScenarioConf("idle"),
        "cache_state": NamedConf("warm"),
        "protocol": fakes.make_protocol(),
        "suite": NamedConf(QUALITY),
        "quality": QualityConf(20, None, 60.0),
        "baseline": True,
        "threads": None,
        "seed": 1,
        "quiet": True,
        "reports_dir": "reports",
        "run_name": "run",
    }
    return BenchConf(**{**fields, **changes})


FIGURES = QualityFigures(20, 20, 0.5, 0.75, 4, 0.8, 176, 0.99, 0.98, 0.97, "'worst'", 0.95)


REFERENCE_FIGURES = QualityFigures(20, 20, 0.6, 0.85, 4, 0.9)


FACTS = {"engine": "numpy", "precision": "float32", "device": "cpu", "version": "1"}


REFERENCE_CELL = fakes.make_cell(BASELINE, scenario=QUALITY)


CELL = fakes.make_cell("lazy", engine="numpy", scenario=QUALITY)
