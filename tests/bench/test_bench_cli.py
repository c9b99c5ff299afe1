"""``python -m bench`` as a user calls it: real processes, the real MiniLM."""

import json
import os
import signal
import subprocess
import sys

import pytest

from bench.data.records import read_records
from loader.engines import ENGINES
from tests.conftest import ROOT

pytestmark = pytest.mark.process

SMALL = ("protocol=quick", "protocol.warmup_rounds=0", "protocol.rounds=1", "protocol.max_reruns=0")


def run_of(tmp_path, name="run"):
    return tmp_path / "reports" / name


@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_a_sweep_becomes_a_report(python, tmp_path):
    done = python(None, "-m", "bench", "-m", "strategy=lazy,progressive", "run_name=run", *SMALL, timeout=550)
    assert done.code == 0, done.err
    records = read_records(run_of(tmp_path) / "records.jsonl")
    assert sorted(record.cell.strategy for record in records) == ["baseline", "lazy", "progressive"]
    assert {record.status for record in records} == {"ok"}
    assert all(min(record.cosines) >= 0.99999 for record in records)
    fastest = next(spec.name for spec in ENGINES if not spec.missing())
    for record in records:
        order = ["spawn", "python_up", "imported", "constructed", "started", "requested", "first_embedding", "exit"]
        stamps = [record.marks_ns[name] for name in order]
        assert stamps == sorted(stamps)
        assert ("ready" in record.marks_ns) == (record.cell.strategy == "progressive")
        assert record.facts["engine"] == ("sentence_transformers" if record.cell.is_baseline else fastest)
    report = (run_of(tmp_path) / "report.md").read_text()
    assert "python -m bench -m strategy=lazy,progressive protocol=quick" in report
    for row in ("| baseline |", "| lazy |", "| progressive |"):
        assert report.count(f"\n{row}") >= 4, "start-up, phases, memory, memory at each mark"
    assert "Startup time" in done.out
    assert "[3/3]" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reports"], "nothing is written beside the run"
    left = sorted(path.name for path in run_of(tmp_path).iterdir())
    assert left == ["manifest.json", "plots", "records.jsonl", "report.html", "report.md"]


@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_a_single_run_with_a_model_that_is_nowhere(python, tmp_path):
    done = python(
        None,
        "-m",
        "bench",
        "strategy=lazy",
        "model.key=gone",
        "model.name=org/gone",
        "run_name=run",
        "quiet=true",
        *SMALL,
    )
    assert done.code == 1
    assert done.err.splitlines() == ["no valid sample: baseline/gone/cpu/idle, lazy/auto/gone/cpu/idle"]
    assert done.out == "Report: reports/run/report.md\n"
    report = (run_of(tmp_path) / "report.md").read_text()
    assert "ModelNotFoundError" in report
    assert "Traceback" not in done.out + done.err


@pytest.mark.real_model
def test_an_absent_device_is_a_row(python, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = python(None, "-m", "bench", "strategy=lazy", "device=cuda", "baseline=false", "run_name=run", *SMALL)
    assert done.code == 0, done.err
    records = read_records(run_of(tmp_path) / "records.jsonl")
    assert {record.status for record in records} == {"unsupported"}
    assert "CUDA" in (run_of(tmp_path) / "report.md").read_text()


@pytest.mark.gpu
@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_a_cuda_device_is_measured(python, tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    done = python(None, "-m", "bench", "strategy=progressive", "device=cuda", "run_name=run", *SMALL, timeout=550)
    assert done.code == 0, done.err
    records = read_records(run_of(tmp_path) / "records.jsonl")
    assert {record.facts["device"] for record in records} == {"cuda:0"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("strategy=turbo",), "strategy/turbo"),
        (("protocol.rounds=many",), "protocol.rounds"),
        (("protocol.rounds=0",), "protocol.rounds=0 must be at least 1"),
        (("surprise=1",), "surprise"),
        (("+surprise=1",), "surprise"),
        (("threads=0",), "threads=0 must be at least 1"),
        (("-m", "seed=1,2"), "seed cannot be swept"),
        (("-m", "strategy=lazy,turbo"), "turbo"),
    ],
)
def test_a_wrong_configuration_is_named(python, tmp_path, arguments, message):
    done = python(None, "-m", "bench", *arguments)
    assert done.code == 2
    assert message in done.err
    assert any(line.startswith("error: ") for line in done.err.splitlines())
    assert "Traceback" not in done.out + done.err
    assert not list(tmp_path.rglob("records.jsonl"))


def test_a_run_is_never_overwritten(python, tmp_path):
    run_of(tmp_path).mkdir(parents=True)
    (run_of(tmp_path) / "records.jsonl").write_text("precious\n")
    done = python(None, "-m", "bench", "run_name=run")
    assert done.code == 2
    assert "already holds a run" in done.err
    assert (run_of(tmp_path) / "records.jsonl").read_text() == "precious\n"


def test_help_lists_groups_and_settings(python):
    done = python(None, "-m", "bench", "--help")
    assert done.code == 0
    for word in (
        "strategy: background, cached, lazy, progressive, quantized, service, service_cold",
        "model: minilm, minilm-l3, mpnet",
        "budget_s",
        "Exit codes",
    ):
        assert word in done.out
    assert "hydra" not in done.out.lower().replace("hydra/launcher", "")


def test_the_groups_offer_what_the_loader_offers():
    from loader import LoadingStrategy
    from loader.engines import AUTO, ENGINES

    def options(group):
        return {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}

    assert options("strategy") == {member.value for member in LoadingStrategy} | {"service_cold"}
    assert options("engine") == {AUTO, *(spec.name for spec in ENGINES)}


def test_init_cost_measures_every_strategy(python):
    done = python(None, "-m", "bench.init_cost", "--rounds", "2", timeout=200)
    assert done.code in {0, 1}, done.err
    for name in ("pass", "lazy", "background", "progressive"):
        assert name in done.out


def test_the_manifest_holds_no_path_of_this_machine(tmp_path):
    from bench.measure.machine import describe_environment

    text = json.dumps(describe_environment().to_json())
    assert "/" not in text.replace("GNU/Linux", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_disk_that_is_full_is_a_message(python, tmp_path):
    """Writes fail half-way: the records that fitted stay readable, the command says what happened."""
    code = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def disk_is_full_from_the_first_record_on(event, arguments):
    if event == "open" and str(arguments[0]).endswith("records.jsonl"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
sys.addaudithook(disk_is_full_from_the_first_record_on)
sys.argv = ["bench", "strategy=lazy", "run_name=run", "model.key=gone", "model.name=org/gone"]
sys.argv += ["protocol=quick", "protocol.rounds=20", "quiet=true", "pass_variables=[PYTHONDONTWRITEBYTECODE]"]
runpy.run_module("bench", run_name="__main__")
"""
    # No bytecode, in no process: Python itself keeps half a file of it if it cannot write a whole one.
    done = python(code, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.code == 2, done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    records = read_records(run_of(tmp_path) / "records.jsonl")
    assert 1 <= len(records) < 20
    assert all(record.status == "failed" for record in records)


@pytest.mark.real_model
@pytest.mark.slow
def test_an_interrupted_run_reports_what_it_has(tmp_path):
    words = ["strategy=lazy", "run_name=run", "protocol.warmup_rounds=0"]
    command = [sys.executable, "-m", "bench", *words]
    restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **restore
    ) as child:
        while "[2/" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert len(read_records(run_of(tmp_path) / "records.jsonl")) >= 2
    assert "Report: reports/run/report.md" in out


def test_a_missing_package_names_the_extra(python):
    code = """
import runpy, sys
sys.modules["hydra"] = None
sys.argv = ["bench"]
runpy.run_module("bench", run_name="__main__")
"""
    done = python(code)
    assert done.code == 2
    assert done.err == (
        "error: the harness needs hydra, which is not installed. "
        "Install it with: python -m pip install 'optimized-embedding-loader[bench]'\n"
    )
