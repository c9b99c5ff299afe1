"""Every suite, composed by the real command line up to where measuring would begin."""

import json
from itertools import product

import pytest

import loader.engines
from bench.plan.config import SUITES
from tests.conftest import ROOT
from tests.support.tiers import representative

STRATEGIES = ("lazy", "background", "progressive", "quantized", "cached", "service", "service_cold")
ENGINES = tuple(spec.name for spec in loader.engines.ENGINES)
MODELS = ("minilm", "minilm-l3", "mpnet")
PEERS = ["fastembed", "openvino", "model2vec", "import_numpy", "empty_python"]
WITH_PEERS = {
    "peers": PEERS,
    "full": ["fastembed", "openvino", "import_numpy", "empty_python"],
    "engines": ["empty_python", "import_numpy"],
}
SWEPT = ("strategy", "engine", "model", "device", "scenario")
ONE = {
    "strategy": ("progressive",),
    "engine": ("auto",),
    "model": ("minilm",),
    "device": ("cpu",),
    "scenario": ("idle",),
}
EXPECTED = {
    "none": ONE,
    "strategies": ONE | {"strategy": STRATEGIES},
    "engines": ONE | {"strategy": ("progressive", "quantized"), "engine": ENGINES},
    "peers": ONE | {"strategy": ("progressive", "quantized")},
    "models": ONE | {"strategy": ("progressive", "quantized"), "model": MODELS},
    "devices": ONE | {"device": ("cpu", "cuda", "mps")},
    "specification": ONE
    | {
        "strategy": ("lazy", "background", "progressive", "quantized", "service", "service_cold"),
        "engine": ("sentence_transformers", "numpy", "auto"),
        "scenario": ("idle", "think_time", "search_command"),
    },
    "waiting": ONE | {"strategy": ("lazy", "background", "progressive", "quantized"), "scenario": ("think_time",) * 12},
    "full": ONE | {"strategy": STRATEGIES, "model": MODELS, "scenario": ("idle", "think_time", "search_command")},
    "quality": ONE | {"strategy": ("lazy", "quantized"), "engine": ENGINES},
}
CELLS = {
    "none": 2,
    "strategies": 8,
    "engines": 11,
    "peers": 8,
    "models": 9,
    "devices": 6,
    "specification": 57,
    "waiting": 48,
    "full": 96,
}
"""With references and peers, as the comments of the files say."""

SHOW = """
import json
import bench.cli
from bench.plan.config import from_hydra, to_plain
from bench.plan.plan import make_plan

def show(composed):
    configs = [from_hydra(config) for config in composed]
    cells = [cell.to_json() for cell in make_plan(configs).cells]
    print(json.dumps({"jobs": [to_plain(conf) for conf in configs], "cells": cells}))
    return 0

bench.cli.run = show
bench.cli.main()
"""


@pytest.fixture
def compose(python):
    """Return the jobs and the cells of a command line, as dictionaries."""

    def run(*arguments):
        done = python(SHOW, *arguments)
        assert done.code == 0, done.out + done.err
        return done.json()

    return run


def swept(composed):
    return sorted(
        tuple(job[group]["key" if group == "model" else "name"] for group in SWEPT) for job in composed["jobs"]
    )


def test_every_suite_has_a_file_and_is_expected_here():
    files = {path.stem for path in (ROOT / "conf" / "suite").glob("*.yaml")}
    assert files == set(SUITES) == set(EXPECTED)


@pytest.mark.parametrize("suite", representative({"none", "peers", "specification", "quality"}, SUITES))
def test_a_suite_is_the_sweep_that_it_says(compose, suite):
    composed = compose(f"suite={suite}")
    assert swept(composed) == sorted(product(*(EXPECTED[suite][group] for group in SWEPT)))
    assert {job["suite"]["name"] for job in composed["jobs"]} == {suite}
    assert {json.dumps(job["peers"]) for job in composed["jobs"]} == {json.dumps(WITH_PEERS.get(suite, []))}
    if suite in CELLS:
        assert len(composed["cells"]) == CELLS[suite]


def test_the_command_line_wins_over_a_suite(compose):
    composed = compose("suite=peers", "peers=[openvino]", "strategy=lazy", "model=mpnet", "protocol=quick")
    assert swept(composed) == [("lazy", "auto", "mpnet", "cpu", "idle")]
    assert {cell["strategy"] for cell in composed["cells"]} == {"baseline", "openvino", "lazy"}
    assert composed["jobs"][0]["protocol"]["name"] == "quick"


def test_a_scenario_of_the_specification_may_have_other_settings(compose):
    composed = compose("suite=specification", "scenario=think_time", "scenario.think_s=8", "engine=auto")
    assert {(cell["scenario"], cell["think_s"]) for cell in composed["cells"]} == {("think_time", 8.0)}
    assert len(composed["jobs"]) == 6


@pytest.mark.parametrize("what", ["job", "hydra"])
def test_a_suite_is_shown_without_measuring(python, what):
    done = python(None, "-m", "bench", "suite=peers", "--cfg", what)
    assert done.code == 0, done.err
    assert ("model2vec" if what == "job" else "progressive,quantized") in done.out


def test_a_run_has_one_name_however_long_its_jobs_take_to_compose(python):
    slow = SHOW.replace(
        "def show", "import time\ndef slowly(config):\n    time.sleep(1.1)\n    return from_hydra(config)\n\ndef show"
    )
    done = python(slow.replace("[from_hydra(config)", "[slowly(config)"), "suite=peers")
    assert done.code == 0, done.err
    assert len({job["run_name"] for job in done.json()["jobs"]}) == 1
