"""A run as its history sees it: the commit that was measured, on what, and the samples that count."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environment import comparable, read_manifest
from bench.errors import RecordError
from bench.merge import DECIDES_ABOUT_SAMPLES, UNITED
from bench.metrics import METRICS
from bench.records import read_records
from bench.run import MANIFEST_FILE, RECORDS_FILE
from bench.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.plan import Cell
    from bench.records import Record


@dataclass(frozen=True)
class Revision:
    """What was measured.

    Attributes:
        commit: full hash.
        committed_at: None where the manifest does not say it, as in that of a gate's arm.
        dirty: whether tracked files differed from the commit.
        subject: first line of the commit's message, printable.
    """

    commit: str
    committed_at: datetime.datetime | None
    dirty: bool
    subject: str


@dataclass(frozen=True)
class Run:
    """What one run measured on one machine.

    Attributes:
        name: of its folder, printable.
        run: what identifies it, "" in old runs.
        machine: fingerprint of machine and versions, this project's among them.
        environment: what the fingerprint was made of.
        conditions: what else decides about samples: limits of the protocol, and variables.
        gate: the gate that this is an arm of, "" for others.
        revision: None where the manifest does not say it.
        measured_at: the first sample.
        records: those that enter the statistics.
        problems: for each cell, how many samples have which other status.
    """

    name: str
    run: str
    machine: str
    environment: Mapping[str, Any]
    conditions: Mapping[str, Any]
    gate: str
    revision: Revision | None
    measured_at: datetime.datetime | None
    records: tuple[Record, ...]
    problems: Mapping[Cell, Mapping[str, int]]

    @property
    def comparable(self) -> str:
        """The fingerprint without this project's version."""
        return comparable(self.environment)

    @property
    def cells(self) -> list[Cell]:
        """The cells that have records, in the order of the records."""
        return list(dict.fromkeys([*(record.cell for record in self.records), *self.problems]))


def read_runs(folder: Path, name: str) -> list[Run]:
    """Return the runs of a folder: one, or each of those that were merged, once for each machine.

    Args:
        folder: of the run.
        name: what to call it.

    Raises:
        RecordError: it holds no run of start-up costs, or a damaged one.
    """
    manifest = read_manifest(folder / MANIFEST_FILE)
    try:
        records = read_records(folder / RECORDS_FILE)
        merged = manifest.get("merged") or []
        alone = {key: value for key, value in manifest.items() if key not in UNITED}
        return [
            _read_run(printable(name), part, manifest["environments"], machine, mine)
            for part in merged or [alone]
            for machine, mine in _by_machine(part, records, only_its_own=bool(merged)).items()
        ]
    # Neither a manifest nor a record says of which type its fields are.
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{folder} is damaged: {error!r}") from error


def printable(text: str) -> str:
    """Return text from outside on one line, without what a terminal or a picture would take for a command."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def to_time(text: object) -> datetime.datetime | None:
    """Return the point in time, in UTC, that ISO 8601 names; without a time zone it is taken for UTC."""
    try:
        time = datetime.datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None:
            return None
        return time.replace(tzinfo=time.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return None


def _by_machine(part: Mapping[str, Any], records: Sequence[Record], *, only_its_own: bool) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if not only_its_own or (record.run, record.machine) == (part["run"], part["machine"]):
            found.setdefault(record.machine, []).append(record)
    return found


def _read_run(
    name: str, part: Mapping[str, Any], environments: Mapping[str, Any], machine: str, records: Sequence[Record]
) -> Run:
    timed = [record for record in records if not record.instrument]
    problems: dict[Cell, dict[str, int]] = {}
    for record in timed:
        problems.setdefault(record.cell, {})
        record.cell.label()  # a damaged cell fails here, not in the middle of a page
        for metric in METRICS:
            metric.value(record)
        if record.status != "ok" and not record.is_warmup:
            problems[record.cell][record.status] = problems[record.cell].get(record.status, 0) + 1
    protocol = part.get("protocol") or {}
    environment = dict(environments[machine])
    comparable(environment)
    return Run(
        name=name,
        run=str(part.get("run") or ""),
        machine=machine,
        environment=environment,
        conditions={f"protocol.{key}": protocol.get(key) for key in DECIDES_ABOUT_SAMPLES}
        | {f"the variable {key}": value for key, value in part.get("variables", {}).items()},
        gate=str(part["gate"]) if part.get("gate") and part.get("arm") else "",
        revision=_read_revision(part.get("revision")),
        measured_at=min(filter(None, (to_time(record.started_at) for record in records)), default=None),
        records=tuple(select(timed)),
        problems=problems,
    )


def _read_revision(fields: object) -> Revision | None:
    if not isinstance(fields, dict) or not re.fullmatch("[0-9a-f]{40,64}", str(fields.get("commit"))):
        return None
    subject = printable(str(fields.get("subject") or ""))
    return Revision(fields["commit"], to_time(fields.get("committed_at")), bool(fields.get("dirty")), subject)
