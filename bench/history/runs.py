"""A run as the history sees it: the measured commit, the machine, and the samples that count."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.conditions import conditions
from bench.data.runs import read_run
from bench.data.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.data import manifest_parts
    from bench.data.environment import Environment
    from bench.data.manifest import Manifest
    from bench.data.records import Record
    from bench.plan.cell import Cell


@dataclass(frozen=True)
class MeasuredRevision:
    """What was measured.

    Attributes:
        commit: full hash.
        committed_at: None if the manifest does not have it, as for the arms of older gates.
        dirty: whether tracked files differed from the commit.
        subject: first line of the commit's message, printable.
    """

    commit: str
    committed_at: datetime.datetime | None
    dirty: bool
    subject: str


@dataclass(frozen=True)
class HistoryRun:
    """What one run measured on one machine.

    Attributes:
        name: its folder's name, printable.
        run: its identity, "" in old runs.
        machine: fingerprint of machine and versions, including this project's.
        environment: what the fingerprint was made of.
        conditions: what else affects samples: limits of the protocol, and variables.
        gate: the gate that this is an arm of, "" if none.
        revision: None if the manifest does not have it.
        measured_at: when the first sample was taken.
        records: those that enter the statistics.
        problems: for each cell, the number of samples with each other status.
    """

    name: str
    run: str
    machine: str
    environment: Environment
    conditions: Mapping[str, object]
    gate: str
    revision: MeasuredRevision | None
    measured_at: datetime.datetime | None
    records: tuple[Record, ...]
    problems: Mapping[Cell, Mapping[str, int]]

    @property
    def comparable(self) -> str:
        """The fingerprint without this project's version."""
        return self.environment.comparable

    @property
    def cells(self) -> list[Cell]:
        """The cells that have records, in the order of the records."""
        return list(dict.fromkeys([*(record.cell for record in self.records), *self.problems]))


def read_runs(folder: Path, name: str) -> list[HistoryRun]:
    """Return the runs of a folder: one, or each part of a merged run, once for each machine.

    Args:
        folder: the run's folder.
        name: what to call it.

    Raises:
        ConfigError: it is a run of suite=quality.
        RecordError: it does not hold a run of start-up costs, or the run is damaged.
    """
    run = read_run(folder, needs=("environments",))
    manifest = run.manifest
    return [
        _make_run(printable(name), part, manifest.environments[machine], machine, mine)
        for part in manifest.runs
        for machine, mine in _by_machine(part, run.records, only_its_own=bool(manifest.merged)).items()
    ]


def printable(text: str) -> str:
    """Return text from outside on one line, without characters that control a terminal or a picture."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def to_time(text: object) -> datetime.datetime | None:
    """Parse an ISO 8601 time and return it in UTC; without a time zone, it is assumed to be UTC."""
    try:
        time = datetime.datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None:
            return None
        return time.replace(tzinfo=time.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return None


def _by_machine(part: Manifest, records: Sequence[Record], *, only_its_own: bool) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if not only_its_own or (record.run, record.machine) == (part.run, part.machine):
            found.setdefault(record.machine, []).append(record)
    return found


def _make_run(
    name: str, part: Manifest, environment: Environment, machine: str, records: Sequence[Record]
) -> HistoryRun:
    timed = [record for record in records if not record.instrument]
    problems: dict[Cell, dict[str, int]] = {}
    for record in timed:
        problems.setdefault(record.cell, {})
        if record.status != "ok" and not record.is_warmup:
            problems[record.cell][record.status] = problems[record.cell].get(record.status, 0) + 1
    return HistoryRun(
        name=name,
        run=part.run or "",
        machine=machine,
        environment=environment,
        conditions=conditions(part),
        gate=part.paired_by,
        revision=read_revision(part.revision),
        measured_at=min(filter(None, (to_time(record.started_at) for record in records)), default=None),
        records=tuple(select(timed)),
        problems=problems,
    )


def read_revision(found: manifest_parts.RecordedRevision | None) -> MeasuredRevision | None:
    """Return what a manifest's ``revision`` says; None if it names no commit."""
    if found is None or not re.fullmatch("[0-9a-f]{40,64}", found.commit or ""):
        return None
    return MeasuredRevision(
        found.commit or "", to_time(found.committed_at), bool(found.dirty), printable(found.subject or "")
    )
