"""Taking the samples: round by round, each record written as soon as it exists."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from bench.data.fidelity import judge
from bench.data.metrics import leading_metric
from bench.data.records import Record, encode_vector
from bench.data.selection import ratios_by_round, select
from bench.measure.noise import NoiseLimits, contamination
from bench.plan.cell import as_watched
from bench.plan.plan import MIN_ROUNDS
from bench.stats.intervals import median_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from bench.data.records import Status
    from bench.measure.process import Outcome
    from bench.plan.cell import Cell
    from bench.plan.plan import Plan, Slot
    from bench.progress.listener import Listener

GIVE_UP_AFTER = 2
"""A cell that fails this many times without ever succeeding is not measured again."""


class Executor(Protocol):
    """Takes one sample in fresh processes."""

    def __call__(self, slot: Slot) -> Outcome:
        """Return the process's outcome."""


@dataclass(frozen=True)
class Stamp:
    """What every record of a run has in common: see ``Record.run`` and ``Record.machine``."""

    run: str = ""
    machine: str = ""


@dataclass
class Runner:
    """Runs a plan.

    Attributes:
        plan: cells and protocol.
        execute: takes one sample.
        write: stores a record.
        listener: is told about the progress.
        clock: seconds; injected for tests.
        stamp: what every record has in common.
        done: records from before the run was interrupted; their samples are not taken again.
        processors: the machine's number of processors, for the noise.
    """

    plan: Plan
    execute: Executor
    write: Callable[[Record], None]
    listener: Listener
    clock: Callable[[], float] = time.monotonic
    stamp: Stamp = field(default_factory=Stamp)
    done: Sequence[Record] = ()
    processors: int = 1
    _before: dict[Hashable, Record] = field(default_factory=dict)
    _records: list[Record] = field(default_factory=list)
    _references: dict[Hashable, Record] = field(default_factory=dict)
    _failures: dict[tuple[Cell, str], int] = field(default_factory=dict)
    _succeeded: set[tuple[Cell, str]] = field(default_factory=set)
    _reruns: int = 0

    def run(self) -> None:
        """Take all samples, or as many as the budget allows or the precision needs."""
        self._before = {record.key: record for record in self.done}
        begun = self.clock() - sum(record.marks_ns.get("exit", 0) for record in self.done) / 1e9
        counted = 0
        for slots in self.plan.rounds():
            spent = self.clock() - begun >= self.plan.protocol.budget_s
            if (spent and counted >= min(MIN_ROUNDS, self.plan.protocol.rounds)) or self._is_precise_enough():
                for slot in slots:
                    self._skip(slot)
                continue
            self._take_round(slots)
            counted += not slots[0].is_warmup
        worked = {as_watched(cell) for cell, instrument in self._succeeded if not instrument}
        for slot in self.plan.passes():
            if slot.cell in worked:
                self._take(slot)
            else:
                self._skip(slot)

    def _take_round(self, slots: Sequence[Slot]) -> None:
        disturbed = [slot for slot in slots if self._take(slot)]
        allowed = self.plan.protocol.max_reruns * self.plan.sample_count
        for slot in disturbed:
            if self._reruns < allowed and not slot.is_warmup:
                self._reruns += 1
                self.listener.sample_repeats(slot)
                self._take(replace(slot, attempt=slot.attempt + 1))

    def _take(self, slot: Slot) -> bool:
        """Take a sample, unless it is already done or its cell was given up; return whether something disturbed it."""
        record = self._before.get((self.stamp.run, slot.cell, slot.round, slot.instrument, slot.attempt))
        if record is None:
            if self._is_given_up(slot):
                self._skip(slot)
                return False
            self.listener.sample_begins(slot)
            outcome = self.execute(slot)
            record = self._judge(to_record(slot, outcome, self.stamp), outcome)
            self.write(record)
        self._note(record)
        self.listener.sample_ended(record)
        return bool(record.contamination) and record.counts

    def _skip(self, slot: Slot) -> None:
        record = self._before.get((self.stamp.run, slot.cell, slot.round, slot.instrument, slot.attempt))
        if record is None:
            self.listener.slot_skipped(slot)
        else:
            self._note(record)
            self.listener.sample_ended(record)

    def _judge(self, record: Record, outcome: Outcome) -> Record:
        protocol = self.plan.protocol
        if record.status == "ok" and not record.instrument and outcome.noise is not None:
            wall_s = record.marks_ns["exit"] / 1e9
            limits = NoiseLimits(protocol.max_steal, protocol.max_foreign_cpu)
            record = replace(record, contamination=contamination(outcome.noise, wall_s, self.processors, limits))
        return judge(
            record, self._references.get(_comparable(record.cell), record if record.cell.is_baseline else None)
        )

    def _is_given_up(self, slot: Slot) -> bool:
        key = (slot.cell, slot.instrument)
        return self._failures.get(key, 0) >= GIVE_UP_AFTER and key not in self._succeeded

    def _note(self, record: Record) -> None:
        self._records.append(record)
        key = (record.cell, record.instrument)
        if record.status == "ok":
            self._succeeded.add(key)
            if record.cell.is_baseline and not record.instrument:
                self._references.setdefault(_comparable(record.cell), record)
        elif record.status == "unsupported":
            self._failures[key] = GIVE_UP_AFTER  # this will not change during the run
        elif record.status != "unverified":
            self._failures[key] = self._failures.get(key, 0) + 1

    def _is_precise_enough(self) -> bool:
        """Whether the interval of every cell's ratio is as narrow as requested; ignores cells without any sample."""
        if self.plan.precision is None:
            return False
        chosen = select(self._records)
        references = {cell.reference: cell for cell in self.plan.cells if cell.is_baseline}
        measured = {record.cell for record in chosen}
        compared = [cell for cell in self.plan.cells if cell in measured and not cell.is_baseline]
        for cell in compared:
            reference = references.get(cell.reference)
            metric = leading_metric(cell)
            values = (
                ratios_by_round(chosen, cell, reference, metric)
                if reference is not None
                else [value for record in chosen if record.cell == cell and (value := metric.value(record)) is not None]
            )
            interval = median_interval(values)
            if interval is None or interval.relative_half_width > self.plan.precision:
                return False
        return bool(compared)


def _comparable(cell: Cell) -> Hashable:
    """Return a key that is equal for cells whose vectors, or search results, must agree."""
    return (cell.model, cell.scenario == "search_command")


def to_record(slot: Slot, outcome: Outcome, stamp: Stamp | None = None) -> Record:
    """Return the record of a process that has ended."""
    stamp = stamp or Stamp()
    base = Record(
        slot.cell,
        slot.round,
        slot.is_warmup,
        "failed",
        started_at=outcome.started_at,
        stderr_tail=outcome.stderr_tail,
        run=stamp.run,
        machine=stamp.machine,
        instrument=slot.instrument,
        attempt=slot.attempt,
        noise=outcome.noise.to_json() if outcome.noise else {},
        state=outcome.state,
    )
    exit_mark = {"exit": outcome.exit_ns - outcome.spawn_ns}
    status, message = judge_outcome(outcome)
    answer = outcome.answer
    if answer is None or status not in {"ok", "unverified"}:
        return replace(base, status=status, message=message, marks_ns=exit_mark)
    marks = {name: stamp_ns - outcome.spawn_ns for name, stamp_ns in answer["marks_ns"].items()}
    return replace(
        base,
        status=status,
        message=message,
        stderr_tail="",  # only chatter of libraries: nothing went wrong
        marks_ns={"spawn": 0, **marks, **exit_mark},
        memory=answer["memory"],
        cpu_s=answer["cpu_s"],
        facts=answer["facts"],
        vectors_b64=tuple(encode_vector(vector) for vector in answer["vectors"]),
        heartbeat=answer.get("heartbeat", {}),
        io=answer.get("io", {}),
    )


def judge_outcome(outcome: Outcome) -> tuple[Status, str]:
    """Return the status of a process that has ended and, unless it is ``ok``, why; ``ok`` implies an answer."""
    answer = outcome.answer
    if outcome.timed_out:
        return "timeout", f"killed after {(outcome.exit_ns - outcome.spawn_ns) / 1e9:.0f} s"
    if answer is None:
        return "failed", f"exit code {outcome.exit_code} without an answer"
    if answer["status"] != "ok":
        return answer["status"], answer["message"]
    if outcome.exit_code != 0:
        return "failed", f"answered, but ended with exit code {outcome.exit_code}"
    if outcome.unverified:
        return "unverified", outcome.unverified
    return "ok", ""
