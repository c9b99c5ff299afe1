"""Real processes: answers, silence, noise, time limits."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from bench.measure.process import run_python, run_worker
from bench.measure.variables import worker_environment
from bench.measure.worker import ANSWER_PREFIX, _parse_status
from bench.subjects import SUBJECTS
from tests.conftest import ROOT

pytestmark = pytest.mark.process

ENVIRON = worker_environment(Path("/nowhere"))
SAY = f"import sys; sys.stdout.write({ANSWER_PREFIX.decode()!r} + '{{}}' + chr(10))"


def test_the_answer_is_found_among_noise():
    noisy = SAY.format('{"n": 1}').replace("{}", '{"n": 1}')
    outcome = run_python(["-c", f"print('noise'); {noisy}; print('more'); sys.stderr.write('warned')"], ENVIRON, 30)
    assert outcome.answer == {"n": 1}
    assert (outcome.exit_code, outcome.timed_out, outcome.stderr_tail) == (0, False, "warned")
    assert outcome.exit_ns - outcome.spawn_ns > 0


@pytest.mark.parametrize(
    "code",
    [
        "",
        "raise SystemExit(3)",
        "import os; os._exit(3)",
        f"print('{ANSWER_PREFIX.decode()}nonsense')",
        f"print('{ANSWER_PREFIX.decode()}[1]')",
    ],
)
def test_silence_and_nonsense_are_no_answer(code):
    assert run_python(["-c", code], ENVIRON, 30).answer is None


def test_a_process_that_takes_too_long_is_killed_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open({str(pids)!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    outcome = run_python(["-c", code], ENVIRON, 2)
    assert outcome.timed_out
    assert outcome.exit_code == -9
    for pid in map(int, pids.read_text().split()):
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_an_interruption_leaves_no_process(monkeypatch):
    """Ctrl-C while the parent waits for a worker."""
    before = {child.pid for child in psutil.Process().children()}
    # A shell starts background jobs with the signal ignored, and so may this test have been started.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            run_python(["-c", "import time; time.sleep(600)"], ENVIRON, 60)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_the_environment_of_workers():
    assert ENVIRON["HF_HUB_OFFLINE"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in ENVIRON
    assert ENVIRON["PATH"] == os.environ["PATH"]


def test_a_worker_that_cannot_find_its_model(tmp_path):
    options = dict.fromkeys(("engine", "threads", "scenario", "reference_model"), "") | {
        "subject": "embedding_loader",
        "strategy": "lazy",
        "engine": "auto",
        "model": "org/no-such-model",
        "device": "cpu",
    }
    outcome = run_worker(options, ENVIRON, 60)
    assert outcome.answer["status"] == "failed"
    assert "ModelNotFoundError" in outcome.answer["message"]
    assert "worker.py" in outcome.stderr_tail, "the traceback is kept for whoever looks into it"
    assert outcome.exit_code == 0


def test_the_worker_imports_nothing_that_the_measured_code_would_pay_for(python):
    code = f"""
import sys
sys.argv = ["worker"]
before = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
import bench.measure.worker, bench.subjects.embedding_loader, bench.subjects.sentence_transformers
print(" ".join(sorted(set(sys.modules) - before)))
"""
    done = python(code)
    assert all(name.startswith("bench") for name in done.out.split()), done.out


def test_every_subject_is_listed():
    files = {path.stem for path in (ROOT / "bench" / "subjects").glob("*.py")} - {"__init__"}
    assert files == set(SUBJECTS)


def test_the_parent_imports_no_measured_code(python):
    code = """
import sys
import bench.cli
measured = {"loader", "torch", "numpy", "pandas", "matplotlib", "scipy"}
print(" ".join(sorted(measured.intersection(sys.modules))))
"""
    assert python(code).out == "\n"


def test_kernel_counters_are_parsed():
    status = (
        b"Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nRssAnon:\t 512 kB\nRssFile:\t 256 kB\nRssShmem:\t 0 kB\n"
    )
    assert _parse_status(status) == {
        "peak_rss_bytes": 2 * 2**20,
        "rss_bytes": 2**20,
        "rss_anon_bytes": 2**19,
        "rss_file_bytes": 2**18,
    }


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux keeps these counters")
def test_kernel_counters_are_those_of_the_process(python):
    code = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
sys.argv = ["worker"]
from bench.measure.worker import Clock
clock = Clock()
clock.mark("before")
block = bytearray(64 * 2**20)
clock.mark("with")
del block
clock.mark("after")
print(json.dumps(clock.memory_bytes()))
"""
    memory = json.loads(python(code).out)
    grown = memory["with"]["rss_anon_bytes"] - memory["before"]["rss_anon_bytes"]
    assert 63 * 2**20 <= grown <= 66 * 2**20
    assert memory["after"]["rss_anon_bytes"] < memory["with"]["rss_anon_bytes"] - 60 * 2**20
    assert memory["after"]["peak_rss_bytes"] >= memory["with"]["rss_bytes"] - 2**20


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_a_process_is_made_leaves_none(monkeypatch, number):
    """Between the fork and the moment that somebody knows of the child."""
    made = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self.pid)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt):
            run_python(["-c", "import time; time.sleep(600)"], ENVIRON, 60)
        assert {signal.getsignal(one) for one in before} == {signal.default_int_handler}
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    (pid,) = made
    assert not psutil.pid_exists(pid)
