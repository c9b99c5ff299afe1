"""The cells ``service`` and ``service_cold``: real services, one for each sample, and none of them left behind."""

import dataclasses
import json
import sys

import psutil
import pytest

from bench.data.fidelity import judge
from bench.data.records import read_records
from bench.measure.process import run_python
from bench.measure.run import prepare_models
from bench.measure.runner import Runner
from bench.measure.sampler import Sampler
from bench.measure.scenarios import service_beside
from bench.measure.service_process import find_service
from bench.measure.variables import RUNTIME, worker_environment
from bench.plan.cell import ANSWERED_BY, INSTRUMENTS, MEANINGS, SERVICE, SERVICE_COLD
from bench.plan.plan import Plan, Slot
from loader.runtime.paths import CACHE_VARIABLE
from loader.strategies import STRATEGIES
from tests.bench.support import fakes
from tests.conftest import MINILM, ROOT
from tests.support.tiers import representative

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="the service needs Unix domain sockets"),
    pytest.mark.real_model,
    pytest.mark.timeout(600),
]


def cell_of(strategy, **changes):
    return fakes.make_cell(strategy, **{"model": MINILM, "scenario": "at_once"} | changes)


def services_outside(environ):
    """Return what serves with this environment's cache, which no other test has, but not in a folder of a sample."""
    found = set()
    for process in psutil.process_iter():
        try:
            theirs = process.environ()
            is_ours = theirs.get(CACHE_VARIABLE) == environ[CACHE_VARIABLE]
            if is_ours and "oel-load-" not in theirs.get(RUNTIME, "") and "serve" in process.cmdline():
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch, tmp_path):
    """Look at services and folders of this test alone: others may run at the same time."""
    folders = []
    made = service_beside.private_runtime

    def noted():
        context = made()

        class Noted:
            def __enter__(self):
                folders.append(context.__enter__())
                return folders[-1]

            def __exit__(self, *error):
                return context.__exit__(*error)

        return Noted()

    monkeypatch.setattr(service_beside, "private_runtime", noted)
    yield folders
    assert not [folder for folder in folders if folder.exists()]
    assert not [process for folder in folders if (process := find_service(folder))]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    cells = [cell_of(SERVICE), cell_of(SERVICE, scenario="search_command"), cell_of(SERVICE, engine="onnx")]
    environ = worker_environment(folder / "cache")
    return environ, prepare_models(cells, environ, folder, None, quiet=True), folder


@pytest.fixture
def sampler(prepared, tmp_path):
    environ, models, folder = prepared
    return Sampler(environ, models, folder, tmp_path, 120.0, 1)


def take(sampler, *cells, passes=()):
    """Return the records of one round of the cells."""
    written = []
    plan = Plan(cells, fakes.make_protocol(warmup_rounds=0, rounds=1, passes=list(passes), max_reruns=0.0), seed=1)
    Runner(plan, sampler, written.append, fakes.Recorder()).run()
    return written


@pytest.mark.parametrize("engine", representative({"onnx"}, ["auto", "onnx"]))
def test_each_cell_is_answered_by_whom_it_says(sampler, engine, nothing_is_left):
    records = take(sampler, cell_of(SERVICE, engine=engine), cell_of(SERVICE_COLD, engine=engine))
    by_strategy = {record.cell.strategy: record for record in records}
    assert {name: (record.status, record.message) for name, record in by_strategy.items()} == dict.fromkeys(
        MEANINGS, ("ok", "")
    )
    assert by_strategy[SERVICE].facts["answered_by"] == "service"
    assert by_strategy[SERVICE_COLD].facts["answered_by"] == "process"
    assert by_strategy[SERVICE].facts["service_memory"]["rss_bytes"] > 0
    assert len(set(nothing_is_left)) == 2, "each sample has a folder of its own"
    one, other = (record.vectors()[0] for record in records)
    assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
def test_neither_weights_nor_numpy_are_in_a_process_that_asks(sampler):
    records = take(sampler, *(cell_of(name, scenario="idle") for name in MEANINGS))
    steady = {record.cell.strategy: record.memory["steady"]["rss_bytes"] for record in records}
    assert 2 * steady[SERVICE] < steady[SERVICE_COLD]


def test_a_device_that_no_engine_has_is_unsupported(sampler):
    (record,) = take(sampler, cell_of(SERVICE, engine="onnx", device="cuda"))
    assert record.status == "unsupported"
    assert "No engine can compute" in record.message


def test_every_strategy_of_the_loader_that_is_a_service_is_told_apart():
    named = [name for name, spec in STRATEGIES.items() if spec.stages == ("service",)]
    assert named == [SERVICE]
    assert set(MEANINGS) == set(ANSWERED_BY) == {SERVICE, SERVICE_COLD}


def test_a_second_cold_sample_is_as_cold_as_the_first(sampler):
    slots = [Slot(cell_of(SERVICE_COLD), number, is_warmup=False) for number in range(2)]
    assert [sampler(slot).answer["facts"]["answered_by"] for slot in slots] == ["process", "process"]


def test_the_measured_process_imports_no_numpy(sampler):
    (_, imports) = take(sampler, cell_of(SERVICE), passes=["importtime"])
    assert imports.status == "ok"
    assert "loader" in json.dumps(imports.facts["imports"])
    assert "numpy" not in json.dumps(imports.facts["imports"])


@pytest.mark.slow
def test_what_watches_a_sample_watches_these_too(sampler):
    records = take(sampler, cell_of(SERVICE), cell_of(SERVICE_COLD), passes=INSTRUMENTS)
    watched = [record for record in records if record.instrument]
    assert len(watched) == 2 * len(INSTRUMENTS)
    assert {record.message for record in watched if record.status not in {"ok", "unsupported"}} == set()


def test_a_program_that_searches_asks_the_service(sampler):
    """The program has a name of its own for the model, and no option for the device."""
    cells = [cell_of(name, scenario="search_command") for name in MEANINGS]
    found = {record.cell.strategy: record for record in take(sampler, *cells)}
    assert {record.status for record in found.values()} == {"ok"}, [record.message for record in found.values()]
    assert {name: record.facts["answered_by"] for name, record in found.items()} == ANSWERED_BY
    assert found[SERVICE].facts["results"] == found[SERVICE_COLD].facts["results"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the proportional set size")
def test_the_service_is_one_of_the_processes_that_use_the_model_together(sampler):
    cell = cell_of(SERVICE, scenario="concurrent", processes=2)
    with service_beside.beside(cell, sampler.options(cell), sampler.environ, sampler.python) as service:
        alone = sampler._run(Slot(cell, 0, is_warmup=False), {**sampler.environ, **service.variables})
        told = service.told(alone, {**sampler.environ, **service.variables}, sampler.python)
    more = told.answer["memory"]["together"]["pss_bytes"] - alone.answer["memory"]["together"]["pss_bytes"]
    assert more >= 2**20, "it has an interpreter and a model"


def test_its_processor_time_is_no_disturbance(sampler):
    """Loading takes seconds of a processor that no sample of its own accounts for."""
    cell = cell_of(SERVICE)
    with service_beside.beside(cell, sampler.options(cell), sampler.environ, sampler.python) as service:
        assert service.used_cpu_s() == pytest.approx(0.0, abs=0.2), "what it took to load was before"
    with service_beside.beside(
        cell_of(SERVICE_COLD), sampler.options(cell), sampler.environ, sampler.python
    ) as service:
        environ = {**sampler.environ, **service.variables}
        assert service_beside._start(cell, sampler.options(cell), environ, sampler.python) == ""
        assert service.used_cpu_s() > 0.05, "a service that began during the sample counts wholly"


def test_a_service_that_dies_before_the_sample_is_an_invalid_record(sampler, monkeypatch):
    look = service_beside.Beside.look

    def look_and_kill(self):
        look(self)
        self._process.kill()
        self._process.wait(10)

    monkeypatch.setattr(service_beside.Beside, "look", look_and_kill)
    (record,) = take(sampler, cell_of(SERVICE))
    assert (record.status, record.message) == ("invalid", "the service should have answered, not the process")


def test_a_service_that_cannot_be_started_is_an_invalid_record_with_the_reason(sampler, monkeypatch):
    def run(words, *rest, **more):
        return run_python([*words, "--no"], *rest, **more)

    monkeypatch.setattr(service_beside, "run_python", run)
    (record,) = take(sampler, cell_of(SERVICE))
    assert record.status == "invalid"
    assert "--no" in record.message


def test_a_model_that_is_nowhere_fails_as_with_every_strategy(sampler):
    broken = dataclasses.replace(sampler, prepared={"org/gone": {}})
    records = take(broken, *(cell_of(name, model="org/gone") for name in ("lazy", *MEANINGS)))
    assert {record.status for record in records} == {"failed"}
    assert all("ModelNotFoundError" in record.message for record in records)


@pytest.mark.parametrize("strategy", MEANINGS)
@pytest.mark.parametrize("state", ["cold_weights", "cold_disk", "cold_bytecode", "no_artifact"])
def test_no_other_cache_state_and_nothing_runs_to_find_that_out(sampler, strategy, state, monkeypatch):
    def run(*_):
        pytest.fail("a process was started")

    monkeypatch.setattr("bench.measure.sampler.run_worker", run)
    monkeypatch.setattr(service_beside, "run_python", run)
    (record,) = take(sampler, cell_of(strategy, cache_state=state))
    assert record.status == "unsupported"
    assert "cache_state=warm" in record.message


def test_whatever_interrupts_a_sample_ends_the_service(sampler, monkeypatch, nothing_is_left):
    def interrupt(*_):
        assert find_service(nothing_is_left[-1]) is not None
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.measure.sampler.run_worker", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take(sampler, cell_of(SERVICE))


def test_a_process_without_a_folder_of_the_bench_starts_no_service(prepared):
    """As when a quality run, or a scout for used files, has this strategy."""
    environ, _, _ = prepared
    code = f"""
from loader import OptimizedEmbeddingLoader
provider = OptimizedEmbeddingLoader({MINILM!r}, "service", "cpu").load(timeout=None)
provider.embed_query("with its first vectors it would start one")
assert provider.answered_by == "process", provider
"""
    outcome = run_python(["-P", "-c", code], environ, 120.0)
    assert outcome.exit_code == 0, outcome.stderr_tail
    assert services_outside(environ) == set()


def test_the_code_of_the_folder_one_is_in_is_not_what_serves(sampler, monkeypatch, tmp_path):
    """A gate runs in the checkout of one revision, and measures another that is installed."""
    (tmp_path / "loader").mkdir()
    (tmp_path / "loader" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    (record,) = take(sampler, cell_of(SERVICE))
    assert (record.status, record.message) == ("ok", "")


@pytest.mark.parametrize(
    ("strategy", "facts", "message"),
    [
        (SERVICE, {"answered_by": "process"}, "the service should have answered, not the process"),
        (SERVICE, {}, "the service should have answered, not the None"),
        (SERVICE_COLD, {"answered_by": "service"}, "the process should have answered, not the service"),
        (SERVICE, {"answered_by": "process", "results": [1]}, "the service should have answered, not the process"),
    ],
)
def test_an_answer_of_somebody_else_is_invalid(strategy, facts, message):
    record = fakes.make_record(cell_of(strategy))
    found = judge(dataclasses.replace(record, facts=record.facts | facts), None)
    assert (found.status, found.message) == ("invalid", message)


@pytest.mark.slow
def test_the_command_line_measures_them(python, tmp_path):
    words = ("protocol=quick", "protocol.warmup_rounds=0", "protocol.rounds=1", "protocol.max_reruns=0")
    strategies = "strategy=lazy,progressive,service,service_cold"
    done = python(
        None,
        *("-P", "-m", "bench", "-m", strategies, "run_name=run", "baseline=false", "protocol.passes=[]", *words),
        env={"PYTHONPATH": str(ROOT)},
        timeout=550,
    )
    assert done.code == 0, done.out + done.err
    records = read_records(tmp_path / "reports" / "run" / "records.jsonl")
    assert {record.cell.strategy: record.status for record in records} == dict.fromkeys(
        ("lazy", "progressive", SERVICE, SERVICE_COLD), "ok"
    )
    report = (tmp_path / "reports" / "run" / "report.md").read_text()
    assert "its memory is additional" in report
    assert all(f"\n| {name.replace('_', chr(92) + '_')} |" in report or f"\n| {name} |" in report for name in MEANINGS)
