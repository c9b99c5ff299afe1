"""The runner, with a fake in the place of processes."""

import dataclasses

import pytest

from bench.data.selection import select
from bench.measure.noise import Noise
from bench.measure.runner import GIVE_UP_AFTER, Runner
from bench.plan.cell import BASELINE
from tests.bench.support import fakes


def run(plan, outcomes=None, clock=lambda: 0.0, done=(), **more):
    """Return the written records, the executor and the listener."""
    executor, listener, written = fakes.FakeExecutor(outcomes), fakes.Recorder(), []
    Runner(plan, executor, written.append, listener, clock, done=done, **more).run()
    assert listener.ended == [*done, *written]
    return written, executor, listener


def test_every_slot_becomes_a_record_at_once():
    plan = fakes.make_plan()
    written, executor, listener = run(plan)
    assert len(written) == plan.sample_count == len(executor.asked) == len(listener.begun)
    assert [record.is_warmup for record in written] == [True] * 2 + [False] * 6
    assert {record.status for record in written} == {"ok"}
    assert written[0].marks_ns["first_embedding"] == 100_000_000
    assert written[0].marks_ns["exit"] == 200_000_000


def test_vectors_are_compared_with_the_reference():
    right = fakes.make_outcome(fakes.make_answer(vector=(0.6, 0.8)))
    wrong = fakes.make_outcome(fakes.make_answer(vector=(0.8, 0.6)))
    plan = fakes.make_plan(fakes.make_cell(BASELINE), fakes.make_cell("good"), fakes.make_cell("bad"))
    written, _, _ = run(plan, {BASELINE: right, "good": right, "bad": wrong})
    by_strategy = {record.cell.strategy: record for record in written}
    assert by_strategy["good"].status == "ok"
    assert by_strategy["good"].cosines == pytest.approx((1.0, 1.0))
    assert by_strategy["bad"].status == "invalid"
    assert "0.96" in by_strategy["bad"].message


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (fakes.make_outcome(None, exit_code=-9), "failed", "exit code -9 without an answer"),
        (fakes.make_outcome(None, timed_out=True), "timeout", "killed"),
        (fakes.make_outcome({"status": "failed", "message": "ValueError: no"}), "failed", "ValueError: no"),
        (fakes.make_outcome({"status": "unsupported", "message": "no CUDA"}), "unsupported", "no CUDA"),
        (fakes.make_outcome(fakes.make_answer(), exit_code=-6), "failed", "exit code -6"),
        (fakes.make_outcome(fakes.make_answer(vector=(0.0, 0.0))), "invalid", "zero"),
        (fakes.make_outcome(fakes.make_answer(vector=(float("nan"), 1.0))), "invalid", "finite"),
        (fakes.make_outcome(fakes.make_answer(vector=(1.0, 0.0, 0.0))), "invalid", "cosine"),
    ],
)
def test_failures_are_records(outcome, status, message):
    written, _, _ = run(fakes.make_plan(), {"lazy": outcome})
    mine = [record for record in written if record.cell.strategy == "lazy"]
    assert {record.status for record in mine} == {status}
    assert all(message in record.message for record in mine)
    assert all(not record.counts for record in mine)
    assert sum(record.counts for record in written) == 3, "the reference is measured all the same"


def test_another_engine_than_asked_is_invalid():
    cell = fakes.make_cell("lazy", engine="onnx")
    written, _, _ = run(fakes.make_plan(fakes.make_cell(BASELINE), cell))
    assert {r.message for r in written if r.cell == cell} == {"engine onnx was requested, but x answered"}


def test_a_cell_that_keeps_failing_is_given_up():
    failing = fakes.make_outcome({"status": "failed", "message": "no"})
    _, executor, listener = run(fakes.make_plan(rounds=9), {"lazy": failing})
    assert sum(cell.strategy == "lazy" for cell in executor.asked) == GIVE_UP_AFTER
    assert len(listener.skipped) == 10 - GIVE_UP_AFTER


def test_what_the_machine_cannot_do_is_asked_once():
    unsupported = fakes.make_outcome({"status": "unsupported", "message": "no CUDA"})
    _, executor, _ = run(fakes.make_plan(rounds=9), {"lazy": unsupported})
    assert sum(cell.strategy == "lazy" for cell in executor.asked) == 1


def test_a_cell_that_failed_once_but_works_goes_on():
    def flaky(count):
        return fakes.make_outcome(None if count % 3 == 0 else fakes.make_answer())

    written, executor, _ = run(fakes.make_plan(fakes.make_cell("lazy"), rounds=9), {"lazy": flaky})
    assert len(executor.asked) == len(written) == 10


@pytest.mark.parametrize(("seconds_each", "rounds_done"), [(1.0, 20), (30.0, 3), (10_000.0, 3)])
def test_the_budget_ends_a_run_but_not_before_three_rounds(seconds_each, rounds_done):
    now = [0.0]
    executor = fakes.FakeExecutor()

    def execute(slot):
        now[0] += seconds_each
        return executor(slot)

    written, listener = [], fakes.Recorder()
    plan = fakes.make_plan(fakes.make_cell(), warmup_rounds=0, rounds=20, budget_s=70.0)
    Runner(plan, execute, written.append, listener, lambda: now[0]).run()
    assert len(written) == rounds_done
    assert len(written) + len(listener.skipped) == plan.sample_count


def test_what_was_measured_before_an_interruption_is_kept():
    written = []

    def execute(slot):
        if len(written) == 3:
            raise KeyboardInterrupt
        return fakes.make_outcome(fakes.make_answer())

    with pytest.raises(KeyboardInterrupt):
        Runner(fakes.make_plan(), execute, written.append, fakes.Recorder()).run()
    assert len(written) == 3


def noisy(**figures):
    return fakes.make_outcome(fakes.make_answer(), noise=Noise(**figures))


def test_a_disturbed_sample_is_taken_again_at_the_end_of_its_round():
    def disturbed_once(count):
        return noisy(foreign_cpu=0.9 if count == 3 else 0.0)

    cells = [fakes.make_cell("lazy"), fakes.make_cell("background")]
    outcomes = {"lazy": disturbed_once, "background": disturbed_once}
    plan = fakes.make_plan(*cells, max_reruns=1.0)
    written, executor, listener = run(plan, outcomes, processors=2)
    assert len(written) == plan.sample_count + 1
    (again,) = [slot for slot in executor.slots if slot.attempt]
    assert listener.repeated == [dataclasses.replace(again, attempt=0)]
    first = written[2]
    assert "other processes used 90 %" in first.contamination
    assert (again.cell, again.round) == (first.cell, first.round)
    assert [slot.round for slot in executor.slots] == sorted(slot.round for slot in executor.slots)
    assert len(select(written)) == plan.sample_count - len(cells)
    assert first not in select(written)


@pytest.mark.parametrize(("share", "reruns"), [(0.0, 0), (0.25, 2), (1.0, 6)])
def test_reruns_have_a_budget_and_disturbed_samples_count_in_the_end(share, reruns):
    plan = fakes.make_plan(max_reruns=share)
    always = noisy(steal=0.8)
    written, _, _ = run(plan, {"lazy": always, BASELINE: always}, processors=2)
    assert sum(record.attempt for record in written) == reruns
    assert len(select(written)) == 6


def test_warm_up_rounds_are_not_repeated():
    plan = fakes.make_plan(fakes.make_cell("lazy"), warmup_rounds=5, rounds=1, max_reruns=1.0)
    written, _, _ = run(plan, {"lazy": noisy(foreign_cpu=0.9)}, processors=2)
    assert [record.attempt for record in written] == [0] * 6 + [1]


def test_unverified_samples_are_kept_and_do_not_count():
    def unverified(count):
        return fakes.make_outcome(fakes.make_answer(), unverified="weights are in memory" if count < 5 else "")

    cell = fakes.make_cell("lazy", cache_state="cold_weights")
    written, _, _ = run(fakes.make_plan(cell, rounds=9), {"lazy": unverified})
    assert [record.status for record in written] == ["unverified"] * 4 + ["ok"] * 6
    assert written[0].message == "weights are in memory"
    assert written[0].marks_ns["first_embedding"] == 100_000_000, "what was measured is kept"


def test_passes_come_last_once_a_cell_and_never_count():
    idle, at_once = fakes.make_cell("lazy"), fakes.make_cell("lazy", scenario="at_once")
    search = fakes.make_cell("lazy", scenario="search_command")
    plan = fakes.make_plan(idle, at_once, search, rounds=1, warmup_rounds=0, passes=["importtime", "memory", "memray"])
    written, executor, _ = run(plan)
    assert [slot.instrument for slot in executor.slots] == [""] * 3 + ["importtime", "memory", "memray"]
    assert {slot.cell for slot in executor.slots[3:]} == {idle}
    assert len(select(written)) == 3
    assert plan.sample_count == len(written)


def test_cells_that_never_worked_are_not_watched():
    failing = fakes.make_outcome({"status": "unsupported", "message": "no"})
    _, executor, listener = run(fakes.make_plan(passes=["memray"]), {"lazy": failing})
    assert [slot.cell.strategy for slot in executor.slots if slot.instrument] == [BASELINE]
    assert [slot.cell.strategy for slot in listener.skipped if slot.instrument] == ["lazy"]


def test_a_precise_ratio_ends_the_run_early():
    def spread(count):
        return fakes.make_outcome(fakes.make_answer(100.0 + count % 5))

    plan = fakes.make_plan(rounds=200, precision=0.05)
    written, _, listener = run(plan, {"lazy": spread, BASELINE: spread})
    rounds = len({record.round for record in written if record.counts})
    assert 6 <= rounds < 20
    assert len(written) + len(listener.skipped) == plan.sample_count
    rough, _, _ = run(fakes.make_plan(rounds=30, precision=0.0001), {"lazy": spread, BASELINE: spread})
    assert len(rough) == 62, "it never gets that narrow"


def test_a_cell_without_samples_does_not_keep_a_precise_run_going():
    failing = fakes.make_outcome({"status": "unsupported", "message": "no"})
    cells = [fakes.make_cell(BASELINE), fakes.make_cell("lazy"), fakes.make_cell("cached")]
    written, _, _ = run(fakes.make_plan(*cells, rounds=50, precision=0.05), {"cached": failing})
    assert len({record.round for record in written if record.counts}) == 6


@pytest.mark.parametrize("cut", range(19))
def test_a_resumed_run_is_the_same_as_one_that_was_not_interrupted(cut):
    class ByNumber(fakes.FakeExecutor):
        """What a sample does depends on the sample, not on how many were taken before."""

        def __call__(self, slot):
            super().__call__(slot)
            disturbed = slot.round == 2 and not slot.attempt
            return noisy(foreign_cpu=0.9 if disturbed else 0.0)

    plan = fakes.make_plan(
        fakes.make_cell(BASELINE), fakes.make_cell("lazy"), fakes.make_cell("cached"), max_reruns=1.0, passes=["memray"]
    )
    whole = []
    Runner(plan, ByNumber(), whole.append, fakes.Recorder(), lambda: 0.0, processors=2).run()
    assert len(whole) == 12 + 3 + 3
    before, after, listener = whole[:cut], [], fakes.Recorder()
    executor = ByNumber()
    Runner(plan, executor, after.append, listener, lambda: 0.0, done=before, processors=2).run()
    assert before + after == whole
    assert listener.ended == whole
    assert len(executor.asked) == len(whole) - len(before)


def test_a_resumed_run_does_not_try_again_what_was_given_up():
    failing = fakes.make_outcome({"status": "failed", "message": "no"})
    plan = fakes.make_plan(rounds=9)
    whole, _, _ = run(plan, {"lazy": failing})
    rest, executor, _ = run(plan, {"lazy": failing}, done=whole)
    assert rest == []
    assert executor.asked == []


def test_time_spent_before_the_interruption_counts():
    plan = fakes.make_plan(fakes.make_cell(), warmup_rounds=0, rounds=20, budget_s=1.0)
    before = [fakes.make_record(plan.cells[0], n, run="", is_warmup=False) for n in range(6)]  # 0.2 s each
    written, _, listener = run(plan, done=before)
    assert written == []
    assert len(listener.skipped) == 14
