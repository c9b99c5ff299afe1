"""The few figures that matter most: each strategy's time to the first vector and memory, beside what it replaces.

Pure functions. The report's first screen, its picture and the README are made from these rows.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.data.fidelity import ANOTHER_MODEL, MIN_COSINE, WITHOUT_VECTORS
from bench.data.metrics import METRICS_BY_KEY, MIB
from bench.plan.cell import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.data.records import Record
    from bench.plan.cell import Cell
    from bench.report.choice.candidates import Candidate, Choice
    from bench.stats.context import Context
    from bench.stats.intervals import Interval
    from bench.stats.summary import CellSummary

SHOWN: tuple[tuple[str, str, str, str], ...] = (
    ("idle", "total_ms", "First vector after", "First vector (ms)"),
    ("at_once", "total_ms", "First vector after", "First vector (ms)"),
    ("search_command", "results_ms", "First result after", "First result (ms)"),
    ("think_time", "first_embedding_ms", "Wait for the vector after other work:", "Wait (ms)"),
)
"""Scenario, metric, what it is in a sentence and in a table: the first that was measured is shown."""

NAMES = {"sentence_transformers": "sentence-transformers", "openvino": "OpenVINO"}
"""What a subject is called, where its strategy's name would not do."""

UNCOMPARED = "think_time"
"""A scenario in which the reference and other libraries load before the clock starts: their times are no comparison."""

Kind = Literal["reference", "peer", "ours", "service"]


@dataclass(frozen=True)
class Row:
    """One way to a vector.

    Attributes:
        name: for people.
        kind: whose it is; ``service`` needs a process that keeps the model loaded.
        time_ms: median of the metric that is shown.
        interval: where that median lies with 95 % confidence; None with too few samples.
        times_faster: the reference's median divided by this one; None without a reference.
        peak_mib: highest resident memory, None if that was not recorded.
        beside_mib: what the service's own process takes; None for all others.
        n: counted samples.
        vectors: "equal", "8 bits" and so on, or "-" if nothing was compared.
    """

    name: str
    kind: Kind
    time_ms: float
    interval: Interval | None
    times_faster: float | None
    peak_mib: float | None
    beside_mib: float | None
    n: int
    vectors: str


@dataclass(frozen=True)
class Overview:
    """The rows, and which figure they show.

    Attributes:
        scenario: label of the scenario.
        key: of the metric.
        phrase: what the metric is, at the beginning of a sentence.
        heading: the same for a table.
        rows: the reference, other libraries, the loader's strategies from the simplest on, the service.
    """

    scenario: str
    key: str
    phrase: str
    heading: str
    rows: tuple[Row, ...]

    def find(self, name: str) -> Row | None:
        """Return the row of this name, or None."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def reference(self) -> Row | None:
        """Plain sentence-transformers, if it was measured."""
        return next((row for row in self.rows if row.kind == "reference"), None)

    @property
    def service(self) -> Row | None:
        """The loader with a service that keeps the model, if it was measured."""
        return next((row for row in self.rows if row.kind == "service"), None)


def overview(context: Context, choice: Choice) -> Overview | None:
    """Return the rows of one model on one machine; None if no strategy has such a figure."""
    kept = [choice.kept] if choice.kept else []
    for scenario, key, phrase, heading in SHOWN:
        ours = [summary for each in choice.candidates or kept if (summary := each.find(key, (scenario,)))]
        if ours:
            label = _most_common([summary.cell.scenario_label for summary in ours])
            cell = next(summary.cell for summary in ours if summary.cell.scenario_label == label)
            others = tuple(_others(context, cell, choice.machine, key)) if scenario != UNCOMPARED else ()
            own = (*_own(context, choice.candidates, label, key, "ours"), *_own(context, kept, label, key, "service"))
            return Overview(label, key, phrase, heading, tuple(_compared((*others, *own))))
    return None


def show_times(times: float | None) -> str:
    """Return how many times faster, ``-`` if that is not known."""
    return "-" if times is None else f"{times:,.{0 if times >= 10 else 1}f}"


def show_time(time_ms: float) -> str:
    """Return a time as people say it: milliseconds below a second, seconds from there on."""
    return METRICS_BY_KEY["total_ms"].show(time_ms) if time_ms < 999.5 else f"{time_ms / 1000:,.1f} s"


def show_memory(row: Row) -> str:
    """Return the peak in MiB, and behind a plus what the service's process takes."""
    show = METRICS_BY_KEY["peak_mib"].show
    beside = "" if row.beside_mib is None else f" + {show(row.beside_mib, unit=False)}"
    return f"{show(row.peak_mib, unit=False)}{beside}"


def _compared(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows with how many times faster than the reference they are, as anybody can check on the table."""
    before = next((row for row in rows if row.kind == "reference"), None)
    for row in rows:
        comparable = before is not None and row is not before and row.time_ms > 0
        yield replace(row, times_faster=before.time_ms / row.time_ms) if before and comparable else row


def _most_common(labels: Sequence[str]) -> str:
    return min(labels, key=lambda label: (-labels.count(label), label))


def _others(context: Context, ours: Cell, machine: str, key: str) -> Iterator[Row]:
    """Yield the reference and the libraries that were measured beside a cell of ours."""
    for summary in context.measured:
        cell = summary.cell
        is_other = (cell.is_baseline or cell.is_peer) and cell.subject not in WITHOUT_VECTORS
        if is_other and (cell.reference, summary.machine) == (ours.reference, machine) and key in summary.spreads:
            kind: Kind = "reference" if cell.is_baseline else "peer"
            yield _row(NAMES.get(cell.subject, cell.strategy), kind, summary, key, context.of(summary))


def _own(context: Context, candidates: Iterable[Candidate], label: str, key: str, kind: Kind) -> Iterator[Row]:
    for candidate in candidates:
        summary = candidate.summaries.get(label)
        if summary is not None and key in summary.spreads:
            name = SERVICE if kind == "service" else candidate.name
            yield _row(name, kind, summary, key, context.of(summary))


def _row(name: str, kind: Kind, summary: CellSummary, key: str, records: Sequence[Record]) -> Row:
    spread = summary.spreads[key]
    beside = [
        told["rss_bytes"] / MIB
        for record in records
        if (told := record.facts.get("service_memory") or {}).get("rss_bytes")
    ]
    return Row(
        name=name,
        kind=kind,
        time_ms=spread.median,
        interval=spread.interval,
        times_faster=None,
        peak_mib=summary.median("peak_mib"),
        beside_mib=statistics.median(beside) if beside and kind == "service" else None,
        n=spread.n,
        vectors=_vectors(summary, kind, records),
    )


def _vectors(summary: CellSummary, kind: Kind, records: Sequence[Record]) -> str:
    """Return what the vectors are worth beside the reference's."""
    if kind == "reference":
        return "reference"
    if summary.cell.subject in WITHOUT_VECTORS:
        return "-"
    if summary.cell.subject in ANOTHER_MODEL:
        return "another model's"
    if {record.facts.get("precision") for record in records} == {"int8"}:
        return "8 bits"
    cosines = [value for record in records for value in record.cosines]
    if not cosines:
        return "-"
    return "equal" if min(cosines) >= MIN_COSINE["float32"] else "differ"
