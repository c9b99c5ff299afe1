"""What a load test writes: a manifest, a line for each phase, its requests as arrays, and the service's memory.

``load.jsonl`` has a line for each phase, written as soon as it is over; ``raw/`` an .npz of the requests of each, see
``bench.load.observations``; ``memory.jsonl`` a line for each second.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from bench.data.folder import has_records
from bench.data.json_text import holds, is_integer, is_number, is_text, parse
from bench.data.records import read_lines
from bench.errors import RecordError
from bench.load.observations import empty, read_observations
from bench.load.options import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.load.observations import Observations

T = TypeVar("T")

SCHEMA = 1
PHASES_FILE, MEMORY_FILE, RAW = "load.jsonl", "memory.jsonl", "raw"


@dataclass(frozen=True)
class Phase:
    """One phase of one round.

    Attributes:
        name: one of ``PHASES``.
        round: from 0.
        status: ``ok``, or ``failed``: a process ended without observations.
        message: why it failed.
        started_at: wall clock time, ISO 8601 with time zone.
        clients: how many asked at the same time.
        offered_per_s: rate of an open loop.
        fraction: that rate as a share of the closed loops' throughput, None if the rate was given.
        seconds: for how long an open loop's requests were due.
        begin_ns: on the clock of ``memory.jsonl``.
        counts: requests by outcome.
        messages: problems, and how often each occurred.
        client_cpu_s: processor seconds of the client processes.
        service_cpu_s: the same for the service.
        facts: engine, device and precision that computed.
        raw: name of the file with the requests, below ``raw/``.
    """

    name: str
    round: int
    status: str
    message: str = ""
    started_at: str = ""
    clients: int = 1
    offered_per_s: float | None = None
    fraction: float | None = None
    seconds: float | None = None
    begin_ns: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    client_cpu_s: float | None = None
    service_cpu_s: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    raw: str = ""

    @property
    def bad(self) -> int:
        """How many requests did not get the right vector."""
        return sum(count for outcome, count in self.counts.items() if outcome != "ok")

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")) + "\n"


@dataclass(frozen=True)
class MemorySample:
    """The service's memory at one moment; ``rss_anon_bytes``, its own part, is None if the system hides it."""

    at_ns: int
    rss_bytes: int
    rss_anon_bytes: int | None = None


def read_phases(folder: Path) -> list[tuple[Phase, Observations]]:
    """Return the phases of a run with their requests; failed phases have none.

    Raises:
        RecordError: a file is missing or damaged.
    """
    phases = read_lines(folder / PHASES_FILE, _phase)
    if not phases:
        raise RecordError(f"{folder / PHASES_FILE} has no phase. Was the run stopped before its first phase ended?")
    return [(phase, _requests(folder, phase)) for phase in phases]


def read_memory(folder: Path) -> list[MemorySample]:
    """Return the service's memory; empty if it was not recorded.

    Raises:
        RecordError: the file is damaged.
    """
    return read_lines(folder / MEMORY_FILE, _memory_sample) if has_records(folder, MEMORY_FILE) else []


def _requests(folder: Path, phase: Phase) -> Observations:
    if phase.status != "ok":
        return empty(0)
    # A name, not a path: a record from outside must not make us read other files.
    if "/" in phase.raw or "\\" in phase.raw:
        raise RecordError(f"{phase.raw!r} is not the name of a file of {folder / RAW}.")
    observations = read_observations(folder / RAW / phase.raw)
    if observations.counts != phase.counts:
        raise RecordError(
            f"{folder / RAW / phase.raw} does not belong to its line in {PHASES_FILE}. Leave the run out."
        )
    return observations


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and holds(value, is_integer)


_SHAPES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("round", "clients", "begin_ns"), is_integer),
    **dict.fromkeys(("status", "message", "started_at", "raw"), is_text),
    **dict.fromkeys(
        ("offered_per_s", "fraction", "seconds", "client_cpu_s", "service_cpu_s"),
        lambda value: value is None or is_number(value),
    ),
    **dict.fromkeys(("counts", "messages"), _is_counts),
    "facts": lambda value: isinstance(value, dict),
}
"""The types of a phase's fields."""


def _phase(line: str) -> Phase:
    data = _parse(line)
    if data.pop("schema", None) != SCHEMA:
        raise RecordError(f"A phase of an unknown schema: {line[:120]!r}")
    if data.get("name") not in PHASES or not {"round", "status", "raw"} <= data.keys():
        raise RecordError(f"Not a phase: {line[:120]!r}")
    if not all(check(data[name]) for name, check in _SHAPES.items() if name in data):
        raise RecordError(f"Not a phase: {line[:120]!r}")
    return _made(Phase, data, line)


def _memory_sample(line: str) -> MemorySample:
    data = _parse(line)
    if not all(is_integer(value) for value in data.values() if value is not None):
        raise RecordError(f"Not a sample of memory: {line[:120]!r}")
    return _made(MemorySample, data, line)


def _parse(line: str) -> dict[str, Any]:
    try:
        data = parse(line)
    except ValueError as error:
        raise RecordError(f"Not a record: {line[:120]!r} ({error})") from error
    if not isinstance(data, dict):
        raise RecordError(f"Not a record: {line[:120]!r}")
    return data


def _made(kind: type[T], data: dict[str, Any], line: str) -> T:
    unknown = sorted(set(data) - {field.name for field in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise RecordError(f"A record with unknown fields {unknown}: {line[:120]!r}")
    try:
        return kind(**data)
    except TypeError as error:
        raise RecordError(f"Not a record: {line[:120]!r} ({error})") from error
