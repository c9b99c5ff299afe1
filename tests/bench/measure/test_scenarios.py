"""Scenarios, cache states and passes as a user calls them: real processes, the real MiniLM."""

import sys

import pytest

from bench.data.metrics import METRICS_BY_KEY
from bench.data.records import read_records
from bench.measure.sampler import beat_iterations
from bench.measure.worker import BEAT_S, STALL_FROM_S, spin, think
from bench.plan.cell import BASELINE

pytestmark = pytest.mark.process

ONCE = ("protocol=quick", "protocol.warmup_rounds=0", "protocol.rounds=1", "protocol.max_reruns=0", "run_name=run")


@pytest.fixture
def bench(python, tmp_path):
    """Run a sweep; return its records and its report."""

    def run(*words, codes=(0,)):
        done = python(None, "-m", "bench", *words, *ONCE, timeout=500)
        assert done.code in codes, done.err
        folder = tmp_path / "reports" / "run"
        return read_records(folder / "records.jsonl"), (folder / "report.md").read_text()

    return run


@pytest.mark.real_model
@pytest.mark.timeout(600)
@pytest.mark.parametrize("baseline", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_what_a_user_notices(bench, baseline):
    words = ("scenario=at_once,think_time,search_command", f"baseline={baseline}")
    strategies = ["lazy"] if baseline == "true" else ["lazy", "progressive"]
    records, report = bench("-m", f"strategy={','.join(strategies)}", *words)
    assert {record.status for record in records} == {"ok"}, [record.message for record in records]
    names = [*strategies, *([BASELINE] if baseline == "true" else [])]
    found = {(record.cell.scenario, record.cell.strategy): record for record in records}
    assert len(found) == len(records) == 3 * len(names)
    results = {tuple(found["search_command", name].facts["results"]) for name in names}
    assert len(results) == 1, "all find the same, in the same order"
    assert len(results.pop()) == 5
    for name in names:
        thinking = found["think_time", name]
        assert thinking.heartbeat["beats"] == 1000, "one second of work, beat by beat"
        assert 0 <= thinking.heartbeat["longest_stall_s"] <= thinking.heartbeat["thought_s"]
        order = ["started", "thought", "requested", "first_embedding"]
        assert [thinking.marks_ns[mark] for mark in order] == sorted(thinking.marks_ns[mark] for mark in order)
        assert "ready" not in found["at_once", name].marks_ns
        assert baseline == "false" or min(thinking.cosines) >= 0.99999
    assert "## Startup experience" in report
    headings = next(line for line in report.splitlines() if line.startswith("| Strategy | aur search"))
    assert "Asked at once" in headings
    assert "After 1 s compute: wait" in headings


@pytest.mark.real_model
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the proportional set size")
def test_processes_at_the_same_time_share_their_weights(bench):
    records, report = bench(
        "-m", "strategy=progressive,quantized", "scenario=concurrent", "scenario.processes=3", "baseline=false"
    )
    assert {record.status for record in records} == {"ok"}, [record.message for record in records]
    for record in records:
        assert record.facts["processes"] == 3
        together = record.memory["together"]
        assert together["pss_bytes"] < 0.7 * together["rss_bytes"], "most pages are counted once for all three"
        assert METRICS_BY_KEY["together_mib"].value(record) > 5
    assert "## Memory of several processes" in report
    assert "3 processes" in report


@pytest.mark.real_model
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="Linux can evict and tell")
@pytest.mark.slow  # test_cache_states has each state by itself
def test_the_states_of_the_caches(bench, tmp_path):
    states = ("warm", "cold_weights", "cold_disk", "cold_bytecode", "no_artifact")
    # What other processes map at this very moment cannot be evicted; a cell that was never verified has no sample.
    words = ("-m", "strategy=lazy,quantized", f"cache_state={','.join(states)}", "baseline=false")
    records, report = bench(*words, codes=(0, 1))
    found = {(record.cell.cache_state, record.cell.strategy): record for record in records}
    assert set(found) == {(state, strategy) for state in states for strategy in ("lazy", "quantized")}
    assert {record.status for record in records} <= {"ok", "unverified", "unsupported"}
    for (state, _), record in found.items():
        if record.status == "unverified":
            assert state.startswith("cold"), record.message
            assert record.message
        elif record.status == "ok" and state in {"cold_weights", "cold_disk"}:
            assert record.state["resident_after_bytes"] <= 0.01 * record.state["total_bytes"]
            assert record.io["read_bytes"] > 2**20, "it came from the disk"
    for strategy in ("lazy", "quantized"):
        warm, compiled = found["warm", strategy], found["cold_bytecode", strategy]
        assert warm.status == compiled.status == found["no_artifact", strategy].status == "ok"
        assert METRICS_BY_KEY["cpu_s"].value(compiled) > METRICS_BY_KEY["cpu_s"].value(warm), "it compiled the sources"
    assert "Read from Disk" in report
    assert not list((tmp_path / "reports" / "run").glob(".scratch*"))


@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_passes_tell_of_imports_memory_and_allocations(bench, tmp_path):
    words = ("strategy=progressive", "engine=numpy", "baseline=false", "protocol.passes=[importtime,memory,memray]")
    records, report = bench(*words)
    by_instrument = {record.instrument: record for record in records}
    unsupported = [] if sys.platform == "linux" else ["memory"]
    assert [record.instrument for record in records if record.status == "unsupported"] == unsupported
    assert {record.status for record in records} <= {"ok", "unsupported"}, [record.message for record in records]
    packages = {row["package"] for row in by_instrument["importtime"].facts["imports"]}
    assert {"numpy", "loader", "(standard library)"} <= packages
    assert "torch" not in packages
    placed = {row["name"]: row for row in by_instrument["importtime"].facts["import_tree"]}
    assert placed["numpy"]["cumulative_us"] > 0
    if not unsupported:
        watched = by_instrument["memory"]
        highest = max(anonymous + mapped for _, anonymous, mapped in watched.facts["memory_timeline"])
        assert 0.8 < highest / watched.memory["steady"]["peak_rss_bytes"] < 1.05, "what the kernel says of the same"
    allocations = by_instrument["memray"].facts["allocations"]
    assert allocations["high_water_bytes"] > 2**20
    page = tmp_path / "reports" / "run" / by_instrument["memray"].facts["flame_graph"]
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    assert str(tmp_path) not in report
    assert sum(record.counts for record in records) == 1
    for heading in ("## Imports (ms)", "## Allocations (MiB)", "plots/imports.png"):
        assert heading in report


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scenario=think_time", "scenario.think_s=0"), "scenario.think_s=0.0 must be above 0"),
        (("scenario=think_time", "scenario.kind=dream"), "must be one of sleep, compute"),
        (("scenario=concurrent", "scenario.processes=1"), "scenario.processes=1 must be at least 2"),
        (("scenario.name=other",), "must be one of idle, at_once"),
        (("cache_state.name=lukewarm",), "must be one of warm, cold_weights"),
        (("protocol.passes=[gdb]",), "must be one of importtime, memory, memray"),
        (("precision=2",), "precision=2.0 must be between 0 and 1"),
        (("-m", "precision=0.1,0.2"), "precision cannot be swept"),
    ],
)
def test_a_wrong_setting_is_named(python, words, message):
    done = python(None, "-m", "bench", *words)
    assert done.code == 2, done.err
    assert message in done.err


def test_a_beat_takes_about_what_it_should():
    """The calibration finds the work of one millisecond, within what a busy machine allows."""
    heartbeat = think(0.2, "compute", beat_iterations())
    assert heartbeat["beats"] == 200
    assert 0.5 * 200 * BEAT_S < heartbeat["thought_s"] < 20 * 200 * BEAT_S
    assert heartbeat["total_stall_s"] == 0 or heartbeat["longest_stall_s"] >= STALL_FROM_S


def test_sleeping_ends_after_its_time():
    heartbeat = think(0.1, "sleep", 0)
    assert heartbeat["thought_s"] >= 0.1
    assert 1 <= heartbeat["beats"] <= 100


def test_computing_is_a_fixed_amount_of_work():
    assert think(0.05, "compute", 1)["beats"] == think(0.05, "compute", 1000)["beats"] == 50
    assert spin(10) == spin(10) != spin(11)
