"""The record: what one sample measured. Immutable, one line of JSON, the only source of everything derived.

History of the format (``SCHEMA``):

1. the first;
2. ``run``, ``machine``, ``instrument``, ``attempt``, ``noise``, ``contamination``, ``state``, ``heartbeat`` and
   ``io``; the status ``unverified``; cells with ``think_s``, ``think_kind``, ``processes`` and ``cache_state``. Schema
   1's scenario ``ready`` is now ``idle``.
"""

from __future__ import annotations

import base64
import json
from array import array
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

from bench.data.folder import read_text
from bench.data.json_text import holds, is_integer, is_number, is_text, parse
from bench.errors import RecordError
from bench.plan.cell import Cell, cell_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

T = TypeVar("T")

SCHEMA = 2
READABLE = (1, 2)

Status = Literal["ok", "failed", "timeout", "unsupported", "invalid", "unverified"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Record:
    """One sample.

    Attributes:
        cell: the configuration that was measured.
        round: number of the round, from 0; warm-up rounds come first.
        is_warmup: whether it is kept but not counted.
        status: ``ok``; ``failed`` or ``timeout``; ``unsupported`` on this machine; ``invalid``: it ran, but with wrong
            vectors or another engine; ``unverified``: its caches were not in the requested state.
        message: why the status is not ``ok``.
        started_at: wall clock time of the spawn, ISO 8601 with time zone.
        marks_ns: nanoseconds from the spawn to each mark, on one clock; ``exit`` is when the process was gone.
        memory: for each mark, bytes by kind, as the kernel counts them.
        cpu_s: processor seconds of the process up to the second vector.
        facts: what the subject reported about itself.
        vectors_b64: the vectors of the worker's texts, little-endian float32 in base64.
        cosines: cosine of each vector with the reference's; empty if there is nothing to compare with.
        stderr_tail: the end of a failed process's standard error.
        run: identifies the run; rounds are numbered within it.
        machine: fingerprint of machine and versions, see ``bench.data.manifest``.
        instrument: what watched the process, "" for nothing; a watched sample never counts.
        attempt: 1 if this is the second attempt at a disturbed sample.
        noise: what else the machine did meanwhile, see ``bench.measure.noise``.
        contamination: why the sample counts as disturbed, or "".
        state: how the cache state was set up and checked.
        heartbeat: the main thread's while it had other work: ``longest_stall_s``, ``total_stall_s``, ``beats``.
        io: ``read_bytes``: what the system read from storage for the process.
    """

    cell: Cell
    round: int
    is_warmup: bool
    status: Status
    message: str = ""
    started_at: str = ""
    marks_ns: dict[str, int] = field(default_factory=dict)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    cpu_s: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    vectors_b64: tuple[str, ...] = ()
    cosines: tuple[float, ...] = ()
    stderr_tail: str = ""
    run: str = ""
    machine: str = ""
    instrument: str = ""
    attempt: int = 0
    noise: dict[str, float] = field(default_factory=dict)
    contamination: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    heartbeat: dict[str, float] = field(default_factory=dict)
    io: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether the sample may enter the statistics; see ``bench.data.selection`` for those measured twice."""
        return self.status == "ok" and not self.is_warmup and not self.instrument

    @property
    def key(self) -> Hashable:
        """What identifies a sample: two records with the same key are the same sample."""
        return (self.run, self.cell, self.round, self.instrument, self.attempt)

    def vectors(self) -> list[array[float]]:
        """Return the vectors, each an array of float32."""
        return [decode_vector(text) for text in self.vectors_b64]

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")) + "\n"


def encode_vector(values: Sequence[float]) -> str:
    """Return a vector as little-endian float32 in base64."""
    packed = array("f", values)
    if _BIG_ENDIAN:
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")


def decode_vector(text: str) -> array[float]:
    """Return the vector that ``encode_vector`` packed."""
    packed = array("f", base64.b64decode(text))
    if _BIG_ENDIAN:
        packed.byteswap()
    return packed


def _is_marks(value: Any) -> bool:
    return isinstance(value, dict) and holds(value, is_integer)


def _is_memory(value: Any) -> bool:
    return isinstance(value, dict) and holds(value, _is_marks)


def _is_figures(value: Any) -> bool:
    return isinstance(value, dict) and holds(value, is_number)


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "round": is_integer,
    "attempt": is_integer,
    "is_warmup": lambda value: isinstance(value, bool),
    **dict.fromkeys(("message", "started_at", "stderr_tail", "run", "machine", "instrument", "contamination"), is_text),
    "marks_ns": _is_marks,
    "memory": _is_memory,
    "io": _is_marks,
    "cpu_s": lambda value: value is None or is_number(value),
    **dict.fromkeys(("facts", "state"), lambda value: isinstance(value, dict)),
    **dict.fromkeys(("noise", "heartbeat"), _is_figures),
    "vectors_b64": lambda value: holds(value, is_text),
    "cosines": lambda value: holds(value, is_number),
}
"""The types of a record's fields."""


def from_line(line: str) -> Record:
    """Parse the record on a line.

    Raises:
        RecordError: it is not a record of a known schema.
    """
    try:
        data = parse(line)
        if data.pop("schema") not in READABLE or data["status"] not in STATUSES:
            raise RecordError(f"A record of an unknown schema or status: {line[:120]!r}")
        known = {field.name for field in fields(Record)}
        if not known.issuperset(data):
            raise RecordError(f"A record with unknown fields {sorted(set(data) - known)}")
        data["cell"] = cell_from_json(data["cell"])
        for name in ("vectors_b64", "cosines"):
            data[name] = tuple(data.get(name, ()))
        odd = [name for name, check in _SHAPES.items() if name in data and not check(data[name])]
        if odd:
            raise RecordError(f"A record with impossible values of {', '.join(odd)}: {line[:120]!r}")
        return Record(**data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"Not a record: {line[:120]!r} ({error!r})") from error


def read_records(path: Path) -> list[Record]:
    """Return all records of a file; see ``read_lines``."""
    return read_lines(path, from_line)


def read_lines(path: Path, make: Callable[[str], T]) -> list[T]:
    """Return all records of a file, each made from its line by ``make``; the file may be compressed.

    A last line without a line end was being written when the run was killed, and is skipped.

    Raises:
        RecordError: the file is missing, or a line is not a record.
    """
    return [make(line) for line in read_text(path).splitlines(keepends=True) if line.endswith("\n")]


class Writable(Protocol):
    """A record of any kind."""

    def to_line(self) -> str:
        """Return it as one line of JSON."""


def append_record(path: Path, record: Writable) -> None:
    """Append one record and flush it, so that a later crash does not lose it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(record.to_line())


_BIG_ENDIAN = array("H", b"\x01\x00")[0] != 1
