"""Taking the rounds of a gate: every place once, in random order, each record written as soon as it exists."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from bench.data.fidelity import judge
from bench.data.metrics import METRICS
from bench.errors import BenchError
from bench.gate.decide.rules import Place
from bench.measure.noise import NoiseLimits, contamination
from bench.measure.runner import to_record
from bench.plan.plan import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.data.records import Record
    from bench.gate.decide.rules import Round
    from bench.measure.runner import Executor, Stamp


class SampleError(BenchError):
    """A sample of a gate has no valid result: without it, nothing can be compared."""


class RoundListener(Protocol):
    """Told about the progress of a gate."""

    def round_ends(self, stage: int, rounds: int, values: Round) -> None:
        """A round of this stage was measured; stage 0 is the warm-up."""


@dataclass
class Measurer:
    """Takes the rounds of all stages.

    Attributes:
        executors: by arm, what takes one sample of a cell.
        stamps: by arm, the stamp of its records.
        write: stores a record of an arm.
        limits: above which noise a sample counts as disturbed.
        processors: how many the machine has, for the noise.
        seed: seed of the order.
        listener: is told about the progress.
        samples: how many were taken, warm-up rounds not counted.
        disturbed: how many of them were disturbed.
    """

    executors: Mapping[str, Executor]
    stamps: Mapping[str, Stamp]
    write: Callable[[str, Record], None]
    limits: NoiseLimits
    processors: int
    seed: int
    listener: RoundListener
    samples: int = 0
    disturbed: int = 0
    _number: int = 0
    _rounds_by_stage: dict[int, int] = field(default_factory=dict)
    _references: dict[str, Record] = field(default_factory=dict)
    _order: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the order."""
        self._order = random.Random(self.seed)  # noqa: S311 - repeatability is the point

    def warm_up(self, blocks: Sequence[tuple[Place, ...]], rounds: int) -> None:
        """Take rounds that are recorded but not counted.

        Raises:
            SampleError: a sample has no valid result.
        """
        for _ in range(rounds):
            self.take(blocks, 0)

    def take(self, blocks: Sequence[tuple[Place, ...]], stage: int) -> Round:
        """Measure every place once; places of one block, which are compared with each other, in direct succession.

        Raises:
            SampleError: a sample has no valid result.
        """
        values = {}
        for block in self._order.sample(blocks, len(blocks)):
            for place in self._order.sample(block, len(block)):
                record = self._sample(place, is_warmup=stage == 0)
                found = {metric.key: metric.value(record) for metric in METRICS}
                values[place] = {key: value for key, value in found.items() if value is not None}
        self._number += 1
        self._rounds_by_stage[stage] = self._rounds_by_stage.get(stage, 0) + 1
        self.listener.round_ends(stage, self._rounds_by_stage[stage], values)
        return values

    def _sample(self, place: Place, *, is_warmup: bool) -> Record:
        slot = Slot(place.cell, self._number, is_warmup)
        outcome = self.executors[place.arm](slot)
        record = to_record(slot, outcome, self.stamps[place.arm])
        # The first vectors of a model are the reference for all others: both revisions must return the same.
        record = judge(record, self._references.get(place.cell.model, record))
        if record.status == "ok" and outcome.noise is not None:
            wall_s = record.marks_ns["exit"] / 1e9
            record = replace(record, contamination=contamination(outcome.noise, wall_s, self.processors, self.limits))
        self.write(place.arm, record)
        if record.status != "ok":
            raise SampleError(_complaint(place, record))
        if record.vectors_b64:
            self._references.setdefault(place.cell.model, record)
        if not is_warmup:
            self.samples += 1
            self.disturbed += bool(record.contamination)
        return record


def _complaint(place: Place, record: Record) -> str:
    tail = record.stderr_tail.strip()
    return f"{place.cell.label()} in the arm {place.arm}: {record.status}: {record.message}" + (
        f"\n{tail}" if tail else ""
    )
