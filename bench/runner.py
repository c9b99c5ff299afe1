"""Taking the samples: round by round, each record written the moment it exists."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from bench.fidelity import judge
from bench.plan import MIN_ROUNDS
from bench.records import Record, encode_vector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.plan import Cell, Plan, Slot
    from bench.process import Outcome
    from bench.records import Status

GIVE_UP_AFTER = 2
"""A cell that fails this often without ever succeeding is not tried again."""


class Executor(Protocol):
    """Runs one sample of a cell in a fresh process."""

    def __call__(self, cell: Cell) -> Outcome:
        """Return what became of the process."""


class Listener(Protocol):
    """Told about the progress of a run; see ``bench.progress``."""

    def sample_begins(self, slot: Slot) -> None:
        """A process is about to be started."""

    def sample_ended(self, record: Record) -> None:
        """Its record has been written."""

    def slot_skipped(self, slot: Slot) -> None:
        """The slot was left out because its cell keeps failing, or the budget was spent."""


@dataclass
class Runner:
    """Runs a plan.

    Attributes:
        plan: cells and protocol.
        execute: takes one sample.
        write: stores a record.
        listener: is told about the progress.
        clock: seconds; injected for tests.
    """

    plan: Plan
    execute: Executor
    write: Callable[[Record], None]
    listener: Listener
    clock: Callable[[], float] = time.monotonic
    _references: dict[object, Record] = field(default_factory=dict)
    _failures: dict[Cell, int] = field(default_factory=dict)
    _succeeded: set[Cell] = field(default_factory=set)

    def run(self) -> None:
        """Take all samples, or as many as the budget allows."""
        begun = self.clock()
        counted = 0
        for slots in self.plan.rounds():
            spent = self.clock() - begun >= self.plan.protocol.budget_s
            if spent and counted >= min(MIN_ROUNDS, self.plan.protocol.rounds):
                for slot in slots:
                    self.listener.slot_skipped(slot)
                continue
            for slot in slots:
                self._take(slot)
            counted += not slots[0].is_warmup

    def _take(self, slot: Slot) -> None:
        if self._is_given_up(slot.cell):
            self.listener.slot_skipped(slot)
            return
        self.listener.sample_begins(slot)
        record = to_record(slot, self.execute(slot.cell))
        if slot.cell.is_baseline and record.status == "ok":
            self._references.setdefault(slot.cell.reference, record)
        record = judge(record, self._references.get(slot.cell.reference))
        self._note(record)
        self.write(record)
        self.listener.sample_ended(record)

    def _is_given_up(self, cell: Cell) -> bool:
        return self._failures.get(cell, 0) >= GIVE_UP_AFTER and cell not in self._succeeded

    def _note(self, record: Record) -> None:
        if record.status == "ok":
            self._succeeded.add(record.cell)
        elif record.status == "unsupported":
            self._failures[record.cell] = GIVE_UP_AFTER  # it will not change during the run
        else:
            self._failures[record.cell] = self._failures.get(record.cell, 0) + 1


def to_record(slot: Slot, outcome: Outcome) -> Record:
    """Return the record of a process that has ended."""
    base = Record(
        slot.cell, slot.round, slot.is_warmup, "failed", started_at=outcome.started_at, stderr_tail=outcome.stderr_tail
    )
    exit_mark = {"exit": outcome.exit_ns - outcome.spawn_ns}
    status, message = judge_outcome(outcome)
    answer = outcome.answer
    if status != "ok" or answer is None:
        return replace(base, status=status, message=message, marks_ns=exit_mark)
    marks = {name: stamp - outcome.spawn_ns for name, stamp in answer["marks_ns"].items()}
    return replace(
        base,
        status="ok",
        stderr_tail="",  # the chatter of libraries: nothing went wrong
        marks_ns={"spawn": 0, **marks, **exit_mark},
        memory=answer["memory"],
        cpu_s=answer["cpu_s"],
        facts=answer["facts"],
        vectors_b64=tuple(encode_vector(vector) for vector in answer["vectors"]),
    )


def judge_outcome(outcome: Outcome) -> tuple[Status, str]:
    """Return the status of a process that has ended and, unless that is ``ok``, why; ``ok`` has an answer."""
    answer = outcome.answer
    if outcome.timed_out:
        return "timeout", f"killed after {(outcome.exit_ns - outcome.spawn_ns) / 1e9:.0f} s"
    if answer is None:
        return "failed", f"exit code {outcome.exit_code} without an answer"
    if answer["status"] != "ok":
        return answer["status"], answer["message"]
    if outcome.exit_code != 0:
        return "failed", f"answered, but ended with exit code {outcome.exit_code}"
    return "ok", ""


def worker_options(cell: Cell, reference_model: str, peer_folder: str = "") -> Mapping[str, str]:
    """Return what the worker is told about a cell.

    Args:
        cell: the cell.
        reference_model: the name by which plain sentence-transformers finds the model.
        peer_folder: files prepared for a peer.
    """
    return {
        "subject": cell.subject,
        "strategy": cell.strategy,
        "engine": cell.engine,
        "model": cell.model,
        "reference_model": reference_model,
        "peer_folder": peer_folder,
        "device": cell.device,
        "scenario": cell.scenario,
        "threads": "" if cell.threads is None else str(cell.threads),
    }
