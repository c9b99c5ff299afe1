"""The cell ``empty_python``: the very program ``python -c pass``, timed whole, without a line of the harness in it."""

import pytest

from bench.data.fidelity import judge
from bench.data.metrics import METRICS_BY_KEY
from bench.measure.runner import to_record
from bench.measure.sampler import Sampler
from bench.measure.scenarios.empty_program import refusal
from bench.measure.variables import worker_environment
from bench.plan.cell import EMPTY
from bench.plan.plan import Slot
from tests.bench.support import fakes

EMPTY_CELL = fakes.make_cell(EMPTY, subject=EMPTY, engine="")

CUSTOM = """
import atexit, os, sys, time
with open(os.environ["NOTES"], "w") as file:
    print(*sys.orig_argv[1:], file=file)
time.sleep(float(os.environ["SLEEP_S"]))
atexit.register(time.sleep, float(os.environ["SLEEP_S"]))
os.environ["FATE"] and os._exit(int(os.environ["FATE"]))
"""


@pytest.fixture
def sample(tmp_path):
    """Take a sample of it with a Python that sleeps when it starts and when it ends; return the record."""
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "sitecustomize.py").write_text(CUSTOM)

    def take(*, sleep_s=0.0, fate="", timeout_s=60.0):
        variables = {"NOTES": tmp_path / "notes", "SLEEP_S": sleep_s, "FATE": fate, "PYTHONPATH": tmp_path / "custom"}
        environ = worker_environment(tmp_path) | {key: str(value) for key, value in variables.items()}
        sampler = Sampler(environ, {EMPTY_CELL.model: {}}, tmp_path, tmp_path, timeout_s, 1)
        slot = Slot(EMPTY_CELL, 1, is_warmup=False)
        return judge(to_record(slot, sampler(slot)), None)

    return take


@pytest.mark.process
class TestASample:
    def test_it_is_that_program_from_spawn_to_exit(self, sample, tmp_path):
        record = sample(sleep_s=0.2)
        assert (record.status, record.message) == ("ok", "")
        assert (tmp_path / "notes").read_text().split() == ["-c", "pass"]
        total_ms, process_ms = (METRICS_BY_KEY[key].value(record) for key in ("total_ms", "process_ms"))
        assert total_ms == process_ms >= 400, "a sleep at the start and one at the end are in it"

    def test_nothing_is_claimed_that_is_not_known(self, sample):
        record = sample()
        for key in ("init_ms", "ready_ms", "first_embedding_ms", "peak_mib"):
            assert METRICS_BY_KEY[key].value(record) is None, key

    @pytest.mark.parametrize(
        ("fate", "status"), [({"fate": "3"}, "failed"), ({"sleep_s": 60, "timeout_s": 1}, "timeout")]
    )
    def test_a_python_that_does_not_start_is_no_figure(self, sample, fate, status):
        assert sample(**fate).status == status


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"scenario": "at_once"}, ""),
        ({"cache_state": "cold_weights"}, ""),
        ({"cache_state": "cold_disk"}, "cold_weights"),
        ({"scenario": "search_command"}, "search_command"),
        ({"scenario": "concurrent", "processes": 2}, "concurrent"),
        ({"subject": "import_numpy", "cache_state": "cold_disk"}, ""),
    ],
)
def test_what_it_cannot_show(changes, told):
    cell = fakes.make_cell(EMPTY, **{"subject": EMPTY, "engine": ""} | changes)
    assert told in refusal(cell)
    assert bool(told) == bool(refusal(cell))


def test_nothing_watches_it():
    plan = fakes.make_plan(EMPTY_CELL, fakes.make_cell("lazy"), passes=["importtime", "memory"])
    assert {slot.cell.subject for slot in plan.passes()} == {"embedding_loader"}
