"""The strategies service and service_cold: real services beside real samples, and none of them left behind."""

from dataclasses import replace

import psutil
import pytest

from bench.data.fidelity import judge
from bench.plan.cell import ANSWERED_BY, MEANINGS, SERVICE, SERVICE_COLD
from loader.strategies import STRATEGIES
from tests.bench.measure.test_scenarios import bench  # noqa: F401 - a fixture

pytestmark = pytest.mark.real_model


def services():
    """The processes that serve for a benchmark."""
    found = []
    for process in psutil.process_iter():
        try:
            if "--adopt" in process.cmdline() and "oel-load-" in process.environ().get("EMBEDDING_LOADER_RUNTIME", ""):
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


@pytest.fixture
def records(bench, minilm_folder):  # noqa: F811
    """One sample of each, and what becomes of them in a cold state of the caches."""

    def run(*words):
        before = set(services())
        found, _ = bench("-m", "strategy=service,service_cold", *words, codes=(0, 1))
        assert set(services()) <= before
        return {record.cell.strategy: record for record in found}

    return run


def test_who_answers(records):
    found = records("scenario=idle")
    for strategy, who in ANSWERED_BY.items():
        assert found[strategy].status == "ok", found[strategy].message
        assert found[strategy].facts["answered_by"] == who
    # Through the service, neither weights nor NumPy are in the process.
    peaks = {strategy: record.memory["steady"]["rss_bytes"] for strategy, record in found.items()}
    assert 2 * peaks["service"] < peaks["service_cold"]


def test_a_sample_that_somebody_else_answered_is_invalid(records):
    found = records("scenario=at_once")
    judged = judge(replace(found["service"], facts={**found["service"].facts, "answered_by": "process"}), None)
    assert (judged.status, judged.message) == ("invalid", "the service should have answered, not the process")


def test_a_service_and_evicted_files_do_not_go_together(records):
    found = records("scenario=at_once", "cache_state=cold_weights")
    assert {found[strategy].status for strategy in ANSWERED_BY} == {"unsupported"}


def test_a_service_that_cannot_be_started_is_told(records):
    found = records("scenario=at_once", "engine=onnx", "device=cuda")
    assert found["service"].status == "unsupported"
    assert "No engine can compute" in found["service"].message


def test_every_strategy_of_the_loader_that_is_a_service_is_told_apart():
    named = [name for name, spec in STRATEGIES.items() if spec.stages == ("service",)]
    assert named == [SERVICE]
    assert set(MEANINGS) == set(ANSWERED_BY) == {SERVICE, SERVICE_COLD}
