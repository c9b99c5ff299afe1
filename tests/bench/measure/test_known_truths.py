"""What is known beforehand comes out in the right column with the right size, through the whole harness.

Each figure is the median of three samples less that of a control, a subject that does nothing, measured in the same
interleaved rounds. The bands are one-sided where noise is: a sleep of 100 ms is never shorter, but may be longer.
"""

import dataclasses
import sys

import pytest

from bench.measure.cache.eviction import evict
from bench.measure.runner import Runner
from bench.measure.sampler import Sampler, beat_iterations
from bench.measure.variables import worker_environment
from bench.plan.plan import Plan, Slot
from bench.stats.summary import summarise
from tests.bench.support import fakes

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="these figures come from Linux"),
]

MAPPED_BYTES, READ_BYTES = 300_000_000, 64_000_000
MIB = 2**20


def cell(truth, **changes):
    return fakes.make_cell(truth, subject=f"tests.bench.support.truths.{truth}", engine="", model="truth", **changes)


def thinking(truth, kind):
    return cell(truth, scenario="think_time", think_s=1.0, think_kind=kind)


CONTROL = dataclasses.replace(cell("sleeps"), strategy="control")
THINKING_CONTROL = {
    kind: dataclasses.replace(thinking("sleeps", kind), strategy="control") for kind in ("sleep", "compute")
}
SLEEPS, ALLOCATES, MAPS, BURNS = (cell(name) for name in ("sleeps", "allocates", "maps", "burns"))
BLOCKS = {kind: thinking("blocks", kind) for kind in ("sleep", "compute")}
BURNS_BESIDE = thinking("burns", "compute")
READS_WARM, READS_COLD = cell("reads"), cell("reads", cache_state="cold_weights")
CELLS = (
    CONTROL,
    *THINKING_CONTROL.values(),
    SLEEPS,
    ALLOCATES,
    MAPS,
    BURNS,
    *BLOCKS.values(),
    BURNS_BESIDE,
    READS_WARM,
    READS_COLD,
)


class TruthSampler(Sampler):
    """A sampler that gives the truths their parameters."""

    def options(self, cell):
        parameters = {"sleep_s": "0" if cell.strategy == "control" else "0.1"}
        if cell.strategy in {"maps", "reads"}:
            parameters["file"] = str(self.scratch / f"{cell.strategy}.bin")
        return super().options(cell) | parameters


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("truths")
    with open(scratch / "maps.bin", "wb") as file:
        file.truncate(MAPPED_BYTES)
    (scratch / "reads.bin").write_bytes(b"\x01" * READ_BYTES)
    prepared = {"truth": {"weights": [str(scratch / "reads.bin")]}}
    sampler = TruthSampler(worker_environment(scratch), prepared, scratch, scratch, 60.0, beat_iterations())
    written = []
    plan = Plan(CELLS, fakes.make_protocol(warmup_rounds=0), seed=1)
    Runner(plan, sampler, written.append, fakes.Recorder()).run()
    return written


@pytest.fixture(scope="module")
def more_than(records):
    """Return a function: by how much a metric of a cell exceeds that of its control."""
    summaries = {summary.cell: summary for summary in summarise(records)}

    def excess(cell, key):
        control = THINKING_CONTROL[cell.think_kind] if cell.think_kind else CONTROL
        return summaries[cell].median(key) - summaries[control].median(key)

    return excess


def can_evict(folder):
    file = folder / "probe"
    file.write_bytes(b"\x01" * MIB)
    return evict([file]).is_verified


def test_every_sample_did_what_was_asked(records, tmp_path):
    bad = {(record.cell.label(), record.status, record.message) for record in records if record.status != "ok"}
    if not can_evict(tmp_path):
        bad = {row for row in bad if "cold_weights" not in row[0]}
    assert not bad


def test_a_sleep_of_100_ms_in_the_constructor(more_than):
    # The control does next to nothing there, but on a busy machine even that may take some milliseconds.
    assert 90 <= more_than(SLEEPS, "construct_ms") <= 200
    assert 60 <= more_than(SLEEPS, "total_ms") <= 300
    assert abs(more_than(SLEEPS, "import_ms")) < 50
    assert more_than(SLEEPS, "cpu_s") < 0.05, "sleeping is no work"


def test_200_mb_of_anonymous_memory(more_than):
    assert more_than(ALLOCATES, "anonymous_mib") == pytest.approx(200e6 / MIB, abs=6)
    assert more_than(ALLOCATES, "peak_mib") == pytest.approx(200e6 / MIB, abs=6)
    assert abs(more_than(ALLOCATES, "mapped_mib")) < 6


def test_half_of_a_mapped_file_of_300_mb(more_than):
    assert more_than(MAPS, "mapped_mib") == pytest.approx(MAPPED_BYTES / 2 / MIB, abs=8)
    assert abs(more_than(MAPS, "anonymous_mib")) < 6


@pytest.mark.parametrize("kind", ["sleep", "compute"])
def test_the_main_thread_is_blocked_for_150_ms(records, more_than, kind):
    assert 140 <= more_than(BLOCKS[kind], "longest_stall_ms") <= 300
    # On a busy machine, all stalls of the control together may be as long: each sample is looked at by itself.
    beats = [record.heartbeat for record in records if record.cell == BLOCKS[kind] and record.counts]
    assert beats
    assert all(beat["total_stall_s"] >= beat["longest_stall_s"] >= 0.14 for beat in beats)


def test_a_thread_that_computes_for_a_second(more_than):
    assert 0.95 <= more_than(BURNS, "cpu_s") <= 1.3
    assert more_than(BURNS, "total_ms") >= 950, "ready means done"
    # Two threads that compute take turns: the main thread, too, comes late by what the other one used.
    # How much longer that takes depends on what else wants the processors.
    assert 500 <= more_than(BURNS_BESIDE, "total_stall_ms") <= 4000
    assert more_than(BURNS_BESIDE, "longest_stall_ms") < 500, "it waits often, not long"


def test_a_file_that_was_evicted_is_read_from_disk(records, more_than, tmp_path):
    if not can_evict(tmp_path):
        pytest.skip("this file system keeps what it is told to forget")
    assert more_than(READS_COLD, "disk_reads_mib") == pytest.approx(READ_BYTES / MIB, abs=4)
    assert more_than(READS_WARM, "disk_reads_mib") < 4
    states = [record.state for record in records if record.cell == READS_COLD]
    assert all(state["resident_after_bytes"] <= 0.01 * READ_BYTES for state in states)


def test_a_warm_sample_is_warm_although_others_evict(tmp_path):
    """A cell that evicts a file and does not read it again leaves it cold for the next one."""
    if not can_evict(tmp_path):
        pytest.skip("this file system keeps what it is told to forget")
    file = tmp_path / "reads.bin"
    file.write_bytes(b"\x01" * READ_BYTES)
    prepared = {"truth": {"weights": [str(file)]}}
    sampler = TruthSampler(worker_environment(tmp_path), prepared, tmp_path, tmp_path, 60.0, 1)
    evicts = cell("sleeps", cache_state="cold_weights")
    for number, one in enumerate((READS_WARM, evicts, READS_WARM, evicts, evicts, READS_WARM)):
        outcome = sampler(Slot(one, number, is_warmup=False))
        if one == READS_WARM and number:
            assert outcome.answer["io"]["read_bytes"] < 4 * MIB
        if one == evicts:
            assert outcome.state["resident_after_bytes"] == 0
    # A run that goes on after a reboot: its first samples are no warm-up.
    evict([file])
    environ = worker_environment(tmp_path)
    resumed = TruthSampler(environ, prepared, tmp_path, tmp_path, 60.0, 1, starts_cold=True)
    outcome = resumed(Slot(READS_WARM, 6, is_warmup=False))
    assert outcome.answer["io"]["read_bytes"] < 4 * MIB
