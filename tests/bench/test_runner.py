"""The runner, with a fake in the place of processes."""

import pytest

from bench.plan import BASELINE
from bench.runner import GIVE_UP_AFTER, Runner
from tests.bench import fakes


def run(plan, outcomes=None, clock=lambda: 0.0):
    """Return the written records, the executor and the listener."""
    executor, listener, written = fakes.FakeExecutor(outcomes), fakes.Recorder(), []
    Runner(plan, executor, written.append, listener, clock).run()
    assert listener.ended == written
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
    assert {r.message for r in written if r.cell == cell} == {"engine onnx was asked for, x answered"}


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
