"""The record of a cell's quality: immutable, one line of JSON, the only source of everything the report says.

History of the format (``SCHEMA``):

1. the first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from bench.data.json_text import is_number, is_text, parse
from bench.data.records import STATUSES, read_lines
from bench.errors import RecordError
from bench.plan.cell import cell_from_json

if TYPE_CHECKING:
    from pathlib import Path

    from bench.data.records import Status
    from bench.plan.cell import Cell

SCHEMA = 1


@dataclass(frozen=True)
class QualityFigures:
    """The quality of one cell's vectors. No figure has a unit.

    Attributes:
        document_count, query_count: size of the retrieval task.
        mrr_at_10: mean reciprocal rank of the relevant document among the ten best, from 0 to 1.
        recall_at_10: share of queries whose relevant document is among the ten best.
        sts_pair_count: pairs of the STS benchmark, 0 without a file.
        sts_spearman: rank correlation of the cosine with the human scores, from -1 to 1; None without a file, or
            if it is undefined.
        text_count: texts whose vectors were compared with the reference's; 0 for the reference itself.
        cosine_mean, cosine_p1, cosine_min: cosines to the reference: mean, 1st percentile (linear
            interpolation: Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996, type 7) and minimum. None
            for the reference itself, like what follows.
        cosine_min_text: the beginning of the text with the lowest cosine.
        overlap_at_10: mean share of the reference's ten best documents that are among the cell's.
    """

    document_count: int
    query_count: int
    mrr_at_10: float
    recall_at_10: float
    sts_pair_count: int = 0
    sts_spearman: float | None = None
    text_count: int = 0
    cosine_mean: float | None = None
    cosine_p1: float | None = None
    cosine_min: float | None = None
    cosine_min_text: str | None = None
    overlap_at_10: float | None = None


@dataclass(frozen=True)
class QualityRecord:
    """One cell.

    Attributes:
        cell: what was measured.
        status: as for samples, see ``bench.data.records.Record``.
        message: why the status is not ``ok``.
        started_at: wall clock time of the spawn, ISO 8601 with time zone.
        facts: what the embedder reported about itself: engine, precision, device, dimension, versions.
        figures: None unless the status is ``ok``.
        stderr_tail: the end of a failed process's standard error.
    """

    cell: Cell
    status: Status
    message: str = ""
    started_at: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    figures: QualityFigures | None = None
    stderr_tail: str = ""

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")) + "\n"


def _figures(data: dict[str, Any]) -> QualityFigures:
    texts = {"cosine_min_text"}
    for name, value in data.items():
        if value is not None and not (is_text(value) if name in texts else is_number(value)):
            raise TypeError(f"{name} is {value!r}")
    return QualityFigures(**data)


def from_line(line: str) -> QualityRecord:
    """Parse the record on a line.

    Raises:
        RecordError: it is not a record of a known schema.
    """
    try:
        data = parse(line)
        if data.pop("schema") != SCHEMA or data["status"] not in STATUSES:
            raise RecordError(f"A record of an unknown schema or status: {line[:120]!r}")
        known = {field.name for field in fields(QualityRecord)}
        if not known.issuperset(data):
            raise RecordError(f"A record with unknown fields {sorted(set(data) - known)}")
        data["cell"] = cell_from_json(data["cell"])
        data["figures"] = _figures(data["figures"]) if data.get("figures") is not None else None
        record = QualityRecord(**data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"Not a record: {line[:120]!r} ({error!r})") from error
    if (record.status == "ok") != (record.figures is not None):
        raise RecordError(f"A record must have figures if and only if it is ok: {line[:120]!r}")
    return record


def read_quality_records(path: Path) -> list[QualityRecord]:
    """Return all records of a file; see ``bench.data.records.read_lines``."""
    return read_lines(path, from_line)
