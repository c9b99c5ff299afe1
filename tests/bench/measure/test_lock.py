"""One bench at a time on a machine, and what a killed one left behind."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from bench.errors import ConfigError
from bench.measure.lock import end_orphans, machine_lock
from bench.measure.process import WORKER
from tests.conftest import ROOT

pytestmark = pytest.mark.process

HOLD = """
import sys
from bench.measure.lock import machine_lock
with machine_lock(sys.argv[1], print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdout.readline().strip() == b"held"
        yield child
        child.kill()


@pytest.mark.parametrize("end", ["close", "kill"])
def test_the_second_waits_until_the_first_ends(tmp_path, holder, end):
    said, entered = [], threading.Event()

    def second():
        with machine_lock(str(tmp_path / "lock"), said.append):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    while not said:
        time.sleep(0.01)
    assert "waiting for another bench on this machine" in said[0]
    assert str(tmp_path / "lock") in said[0]
    assert not entered.is_set()
    if end == "close":
        holder.stdin.close()
    else:
        holder.kill()
    thread.join(timeout=30)
    assert entered.is_set()


def test_it_is_given_back(tmp_path):
    said = []
    for _ in range(2):
        with machine_lock(str(tmp_path / "lock"), said.append):
            pass
    assert said == []


def test_a_lock_that_cannot_be_taken_is_a_message(tmp_path):
    with pytest.raises(ConfigError, match="machine_lock=FILE"), machine_lock(str(tmp_path), print):
        pass  # a folder


SLEEP = "import time; time.sleep(600)"


def worker_of(parent):
    """Start a process that looks like a worker of that bench."""
    return subprocess.Popen([sys.executable, "-c", SLEEP, str(WORKER), f"parent={parent}"], start_new_session=True)


def test_a_worker_whose_bench_is_gone_is_ended():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with worker_of(gone.pid) as orphan, worker_of(os.getpid()) as mine:
        try:
            while not all(str(WORKER) in psutil.Process(child.pid).cmdline() for child in (orphan, mine)):
                time.sleep(0.01)
            assert end_orphans() == 1
            assert not psutil.pid_exists(orphan.pid)
            assert mine.poll() is None, "the worker of a living bench is left alone"
        finally:
            for child in (orphan, mine):
                child.kill()


def test_other_processes_are_left_alone():
    with subprocess.Popen([sys.executable, "-c", SLEEP, "parent=1"]) as stranger:
        try:
            while "parent=1" not in psutil.Process(stranger.pid).cmdline():
                time.sleep(0.01)
            end_orphans()
            assert stranger.poll() is None
        finally:
            stranger.kill()
