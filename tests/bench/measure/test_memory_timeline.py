"""The pass ``memory``: what is known of a process's memory is in its timeline, whatever becomes of the process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import pairwise
from mmap import PAGESIZE
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.records import from_line
from bench.measure import passes
from bench.measure.process import run_python
from bench.measure.profiles import memory_timeline
from bench.measure.profiles.memory_timeline import Reading, parse, recorded, reduce, to_facts
from bench.measure.runner import to_record
from bench.measure.sampler import Sampler, beat_iterations
from bench.measure.variables import worker_environment
from bench.plan.plan import Slot
from tests.bench.support import fakes

pytestmark = pytest.mark.process

MIB = 2**20
ENVIRON = worker_environment(Path("/nowhere"))

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux says what memory a process has")

STEPS = """
import mmap, sys
def reached(step):
    print(step, flush=True)
    sys.stdin.readline()
reached("up")
kept = b"\\x01" * (60 * 2**20)
reached("allocated")
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(mapped[at] for at in range(0, len(mapped), mmap.PAGESIZE))
reached("mapped")
del kept
reached("freed")
"""

BYTES = st.integers(0, 10**10)


@st.composite
def timelines(draw):
    """Readings in order of time; many that hardly change, as of real processes, some that jump."""
    memory = draw(st.lists(st.tuples(BYTES, BYTES) | st.tuples(st.just(10**9), st.integers(0, 10**7)), min_size=1))
    times_ns = sorted(draw(st.sets(st.integers(0, 10**12), min_size=len(memory), max_size=len(memory))))
    return [Reading(at_ns, *sizes) for at_ns, sizes in zip(times_ns, memory, strict=True)]


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "memory-timeline"]


def test_the_text_of_the_kernel_is_read():
    assert parse(b"5000 3000 1000 10 0 900 0\n", 7) == Reading(7, 2000 * PAGESIZE, 1000 * PAGESIZE)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0 0 0 0 0 0 0\n",
        b"5000 3000",
        b"5000 1000 3000 1 0 1 0",
        b"a b c",
        b"1 -2 0",
        b"1 \xb2 1",
        b"1" * 500 + b" 2 1",
    ],
)
def test_what_is_no_reading(text):
    assert parse(text, 0) is None


@given(st.binary() | st.lists(st.integers(-9, 10**25)).map(lambda numbers: " ".join(map(str, numbers)).encode()))
def test_any_bytes_can_be_read(text):
    reading = parse(text, 1)
    assert reading is None or (reading.total_bytes > 0 and min(reading) >= 0)


@given(timelines(), st.integers(3, 20))
def test_few_points_show_how_it_went(readings, at_most):
    kept = reduce(readings, at_most)
    assert len(kept) <= min(at_most, len(readings))
    assert (kept[0], kept[-1]) == (readings[0], readings[-1])
    assert max(reading.total_bytes for reading in kept) == max(reading.total_bytes for reading in readings)
    assert all(before.at_ns < after.at_ns for before, after in pairwise(kept))
    assert set(kept) <= set(readings)
    assert reduce(readings, at_most) == kept


@given(timelines())
def test_whatever_changed_is_kept_if_there_is_room(readings):
    step_bytes = max(reading.total_bytes for reading in readings) / 200
    kept = reduce(readings, len(readings) + 3)
    before = readings[0]
    for reading in readings:
        if reading in kept:
            before = reading
        changes = (reading.total_bytes - before.total_bytes, reading.anonymous_bytes - before.anonymous_bytes)
        assert max(map(abs, changes)) <= step_bytes


def test_no_readings_no_points_and_of_many_few():
    assert reduce([]) == to_facts([], 0) == []
    sawtooth = [Reading(at_ns, (at_ns % 7) * MIB, MIB) for at_ns in range(100_000)]
    kept = reduce(sawtooth)
    assert 3 <= len(kept) <= 300
    assert to_facts(sawtooth, 5)[0] == [-5, 0, MIB]
    flat = [Reading(at_ns, MIB, MIB) for at_ns in range(1000)]
    assert reduce(flat) == [flat[0], flat[-1]]


@on_linux
def test_known_amounts_come_and_go(tmp_path):
    file = tmp_path / "mapped.bin"
    file.write_bytes(b"\x01" * (40 * MIB))
    readings, levels = [], {}
    words = [sys.executable, "-c", STEPS, str(file)]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
        recorded(readings, child.pid),
    ):
        for step in ("up", "allocated", "mapped", "freed"):
            assert child.stdout.readline().strip().decode() == step
            reached_ns = time.perf_counter_ns()
            deadline = time.monotonic() + 60
            while not (readings and readings[-1].at_ns > reached_ns) and time.monotonic() < deadline:
                time.sleep(0.001)
            levels[step] = readings[-1]
            child.stdin.write(b"\n")
            child.stdin.flush()
        child.wait()
    assert not reading_threads()

    def grown(since, until):
        changes = (getattr(levels[until], name) - getattr(levels[since], name) for name in Reading._fields[1:])
        return [change / MIB for change in changes]

    assert grown("up", "allocated") == pytest.approx([60, 0], abs=2)
    assert grown("allocated", "mapped") == pytest.approx([0, 40], abs=2)
    assert grown("mapped", "freed") == pytest.approx([-60, 0], abs=2)
    points = to_facts(readings, readings[0].at_ns)
    highest = max(anonymous + mapped for _, anonymous, mapped in points)
    assert (highest - levels["up"].total_bytes) / MIB == pytest.approx(100, abs=3)


@on_linux
@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_child_that_vanishes_ends_its_timeline(code):
    readings = []
    outcome = run_python(["-c", code], ENVIRON, 30, watch=partial(recorded, readings))
    assert not reading_threads()
    assert outcome.exit_code in {3, -9}
    assert all(outcome.spawn_ns < reading.at_ns < outcome.exit_ns for reading in readings)


@on_linux
def test_a_timeline_of_no_process_is_empty():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    readings = []
    with recorded(readings, child.pid):
        pass
    assert readings == []


@on_linux
def test_a_timeout_leaves_no_thread_and_what_was_read_until_then():
    readings = []
    outcome = run_python(["-c", "import time; time.sleep(600)"], ENVIRON, 1, watch=partial(recorded, readings))
    assert outcome.timed_out
    assert not reading_threads()
    assert len(readings) > 10
    assert outcome.spawn_ns < readings[0].at_ns < readings[-1].at_ns < outcome.exit_ns


@on_linux
def test_an_interruption_leaves_no_thread():
    readings = []

    def interrupt_once_read():
        while not readings:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = threading.Thread(target=interrupt_once_read)
    try:
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            run_python(["-c", "import time; time.sleep(600)"], ENVIRON, 60, watch=partial(recorded, readings))
    finally:
        signal.signal(signal.SIGINT, handler)
        interrupter.join()
    assert not reading_threads()


def sampler(folder):
    made = Sampler(worker_environment(folder), {"truth": {}}, folder, folder, 60.0, beat_iterations())
    made.options = lambda cell: (
        Sampler.options(made, cell) | {"bytes": str(60 * MIB), "sleep_s": "0.3", "wait_s": "0.5"}
    )
    return made


def truth(name):
    return fakes.make_cell(name, subject=f"tests.bench.support.truths.{name}", engine="", model="truth")


@on_linux
def test_a_watched_sample_is_a_record_with_a_timeline_on_the_clock_of_its_marks(tmp_path):
    slot = Slot(truth("allocates"), 0, is_warmup=False, instrument="memory")
    record = to_record(slot, sampler(tmp_path)(slot))
    assert record.status == "ok", record.message
    assert from_line(record.to_line()) == record
    assert not record.counts
    timeline = record.facts["memory_timeline"]
    assert json.loads(json.dumps(timeline)) == timeline
    assert len(timeline) <= 300
    times_ns = [at_ns for at_ns, _, _ in timeline]
    assert times_ns == sorted(times_ns)
    assert 0 < times_ns[0] < record.marks_ns["imported"]
    assert record.marks_ns["second_embedding"] < times_ns[-1] < record.marks_ns["exit"]
    at_mark = record.memory["second_embedding"]  # what the process says of itself, and keeps until it ends
    _, anonymous_bytes, mapped_bytes = max(timeline, key=lambda point: point[1] + point[2])
    assert anonymous_bytes == pytest.approx(at_mark["rss_anon_bytes"], abs=2 * MIB)
    assert mapped_bytes == pytest.approx(at_mark["rss_file_bytes"], abs=2 * MIB)
    base_bytes = record.memory["imported"]["rss_anon_bytes"]
    assert at_mark["rss_anon_bytes"] - base_bytes > 59 * MIB
    early = [anonymous for at_ns, anonymous, _ in timeline if at_ns <= record.marks_ns["imported"]]
    assert max(early) < base_bytes + 2 * MIB, "the memory comes after the imports"
    assert anonymous_bytes + mapped_bytes == pytest.approx(at_mark["peak_rss_bytes"], abs=4 * MIB)


@on_linux
def test_a_timed_sample_has_no_watcher(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_timeline, "recorded", None)  # would be an error if called
    slot = Slot(truth("sleeps"), 0, is_warmup=False)
    record = to_record(slot, sampler(tmp_path)(slot))
    assert record.status == "ok", record.message
    assert "memory_timeline" not in record.facts


def test_where_nothing_tells_of_memory_the_pass_is_unsupported(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_timeline, "_OWN_STATM", tmp_path / "no-statm")
    outcome = passes.memory({"subject": "tests.bench.support.truths.sleeps"}, ENVIRON, 60.0)
    assert outcome.answer["status"] == "unsupported"
    assert "/proc/PID/statm" in outcome.answer["message"]


@on_linux
def test_a_worker_that_fails_says_so(tmp_path):
    options = {"subject": "tests.bench.support.truths.none", "scenario": "idle", "threads": ""}
    outcome = passes.memory(options, worker_environment(tmp_path), 60.0)
    assert outcome.answer["status"] == "failed"
    assert "facts" not in outcome.answer
