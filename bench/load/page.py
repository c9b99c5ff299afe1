"""A load test in words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.environment import Environment
from bench.data.manifest_parts import RecordedRevision
from bench.load.observations import OUTCOMES
from bench.load.options import IN_PROCESS
from bench.load.summary import FLAT_SHARE, MIN_BEYOND, PERMILLE
from bench.report.document import Code, Document, Picture, Prose, Section, Table, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.data.manifest import Manifest
    from bench.load.records import Phase
    from bench.load.summary import Memory, PhaseSummary, RoundRange

_LOOPS = {"closed": "Closed loops", "open": "Open loops, all rates"}
"""The service's phases, as the table of its memory names them."""
NAMES = {
    "closed": "service",
    "serial": "one process, text by text",
    "threads": "one process, a thread for each processor",
    "batch": "one process, batches of 32",
    "best": "one process, its best",
}

THROUGHPUT, LATENCY = "throughput", "latency"
"""Names of the pictures."""

_MIB = 2**20


def to_document(
    manifest: Manifest,
    loads: Sequence[PhaseSummary],
    ratios: Mapping[str, RoundRange],
    memories: Mapping[str, Memory],
    phases: Sequence[Phase],
) -> Document:
    """Return all of it."""
    closed = [load for load in loads if load.name != "open"]
    opened = [load for load in loads if load.name == "open"]
    sections = []
    if closed:
        blocks = (
            Picture(THROUGHPUT, "Right answers per second; a line spans the lowest to the highest round"),
            throughput_table(closed, ratios),
        )
        sections.append(Section("Throughput", (*blocks, Prose(_about_throughput()))))
    if any(load.answers_per_s for load in loads):
        table = latency_table(loads)
        blocks = (Picture(LATENCY, "Latency of right answers: share that took at most this long"), table)
        sections.append(Section("Latency", (*blocks, Prose(_about_latency()))))
    if opened:
        sections.append(Section("Requests that do not wait for each other", (open_table(opened), Prose(_about_open()))))
    if memories:
        sections.append(Section("Memory of the service", (memory_table(memories), Prose(_about_memory()))))
    messages = message_table(phases)
    if messages.rows:
        sections.append(Section("What went wrong", (messages,)))
    sections.append(Section("How this was measured", (Code(manifest.command or ""), _machine(manifest))))
    return Document("Load test", (Prose(escape(result_in_words(loads, manifest))),), tuple(sections))


def result_in_words(loads: Sequence[PhaseSummary], manifest: Manifest) -> str:
    """Return the result in a few sentences."""
    options, asked = manifest.options, sum(load.asked for load in loads)
    right = sum(load.counts.get("ok", 0) for load in loads)
    failed = sum(load.failed for load in loads)
    what = f"{options.get('model', '?')}, engine {options.get('engine', '?')}"
    found = f"{what}: {right:,} of {asked:,} requests got the right vector."
    counts = {name: sum(load.counts.get(name, 0) for load in loads) for name in OUTCOMES if name != "ok"}
    others = [f"{count:,} {name}" for name, count in counts.items() if count]
    found += f" The others: {', '.join(others)}." if others else ""
    return found + (f" {failed} phases failed." if failed else "")


def throughput_table(loads: Sequence[PhaseSummary], ratios: Mapping[str, RoundRange]) -> Table:
    """Return a row for the service and each way to use one process; the ratio is the service's to that row."""
    rows = [
        (
            _label(load),
            str(load.clients),
            f"{load.asked:,}",
            *_figures(load.answers_per_s, ",.1f"),
            *_figures(ratios.get(load.name), ".2f"),
            _plain(load.client_cpus),
            _plain(load.service_cpus),
            _remarks(load),
        )
        for load in loads
    ]
    if "best" in ratios:
        rows.append((NAMES["best"], "-", "-", "-", "-", *_figures(ratios["best"], ".2f"), "-", "-", "-"))
    headings = (
        "What",
        "Clients",
        "Requests",
        "Answers/s",
        "Range",
        "Service is faster by",
        "Range of that",
        "Processors, clients",
        "Processors, service",
        "Remarks",
    )
    return Table("Throughput", headings, tuple(rows), details=("Requests", "Range of that"))


def latency_table(loads: Sequence[PhaseSummary]) -> Table:
    """Return a row for each kind of phase; a dash is a quantile with too few samples."""
    rows = tuple(
        (_label(load), f"{load.counts.get('ok', 0):,}", *(_plain(load.latencies_ms[each]) for each in PERMILLE))
        for load in loads
    )
    headings = ("What", "Samples", *("Median, ms" if each == 500 else f"{each / 10:g} %, ms" for each in PERMILLE))
    return Table("Latency", headings, rows)


def open_table(loads: Sequence[PhaseSummary]) -> Table:
    """Return a row for each rate."""
    rows = tuple(
        (
            _label(load),
            f"{load.offered_per_s or 0:,.1f}",
            *_figures(load.answers_per_s, ",.1f"),
            f"{load.asked:,}",
            *(f"{load.counts.get(name, 0):,}" for name in OUTCOMES if name != "ok"),
            "-" if load.waited is None else f"{load.waited:.1%}",
            _plain(load.lag_ms),
            _plain(load.service_cpus),
            _remarks(load),
        )
        for load in loads
    )
    headings = (
        "Rate",
        "Asked/s",
        "Answers/s",
        "Range",
        "Requests",
        *(name.capitalize() for name in OUTCOMES if name != "ok"),
        "No client free",
        "Generator late, 99 %, ms",
        "Processors, service",
        "Remarks",
    )
    return Table("Requests that do not wait for each other", headings, rows)


def memory_table(memories: Mapping[str, Memory]) -> Table:
    """Return how the service's memory developed, a column for each kind of its phases."""
    kinds = {memory.kind for memory in memories.values()}
    kind = "its own (RssAnon)" if kinds == {"rss_anon_bytes"} else "resident"

    def growth(memory: Memory) -> str:
        return "-" if memory.per_1000_bytes is None else f"{memory.per_1000_bytes / 1024:+,.1f} KiB"

    facts: tuple[tuple[str, Callable[[Memory], str]], ...] = (
        (f"First quarter, median, {kind}", lambda memory: f"{memory.first_bytes / _MIB:,.1f} MiB"),
        (f"Last quarter, median, {kind}", lambda memory: f"{memory.last_bytes / _MIB:,.1f} MiB"),
        ("Growth per 1,000 answers", growth),
        ("Highest, resident, including shared pages", lambda memory: f"{memory.total_bytes / _MIB:,.1f} MiB"),
        ("Samples, one per second", lambda memory: f"{memory.samples:,}"),
        ("Flat", lambda memory: "yes" if memory.is_flat else "no"),
    )
    rows = tuple((what, *(say(memory) for memory in memories.values())) for what, say in facts)
    return Table("Memory of the service", ("What", *(_LOOPS[name] for name in memories)), rows)


def message_table(phases: Sequence[Phase]) -> Table:
    """Return a row for each problem in a phase."""
    rows = [(phase.name, str(phase.round + 1), "-", phase.message) for phase in phases if phase.message]
    rows += [
        (phase.name, str(phase.round + 1), str(count), message)
        for phase in phases
        for message, count in phase.messages.items()
    ]
    return Table("What went wrong", ("Phase", "Round", "Times", "Message"), tuple(rows), 4)


def _label(load: PhaseSummary) -> str:
    if load.name != "open":
        return NAMES[load.name]
    is_share = load.offered != load.offered_per_s
    return f"service, {load.offered:.0%} of its throughput" if is_share else f"service, {load.offered:g} per second"


def _figures(value: RoundRange | None, form: str) -> tuple[str, str]:
    if value is None:
        return "-", "-"
    return f"{value.median:{form}}", f"{value.lowest:{form}} to {value.highest:{form}}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _remarks(load: PhaseSummary) -> str:
    return "; ".join(load.remarks) or "-"


def _machine(manifest: Manifest) -> Table:
    environment = manifest.environments.get(manifest.machine or "", Environment())
    revision = manifest.revision or RecordedRevision()
    usable = environment.processors_usable
    rows = [
        ("Processor", environment.processor or "unknown"),
        ("Processors usable", "unknown" if usable is None else str(usable)),
        ("System", environment.system or "unknown"),
        ("Python", environment.python or "unknown"),
        ("Commit", f"{revision.commit or 'unknown'}{', changed' if revision.dirty else ''}"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in environment.installed.items())),
        ("Different texts", str(manifest.reference.get("texts", "unknown"))),
        *((name, str(value)) for name, value in manifest.options.items() if name not in {"model", "engine", "texts"}),
    ]
    return Table("How this was measured", ("What", "Value"), tuple(rows), 2)


def _about_throughput() -> str:
    names = ", ".join(NAMES[name] for name in IN_PROCESS)
    return (
        "Every client of the service asks for one text, and for the next as soon as it has the vector. In the same "
        f"rounds: {names}. Ratios are taken within each round. Processors: how many were busy on average. "
        "Clients and service share the machine, so processors that clients use are not available to the service."
    )


def _about_latency() -> str:
    return (
        "For the right answers of all rounds together. In open loops, latency begins when a request was due, not when "
        "a client got around to it. In batches, it is that of the whole batch. "
        f"A dash: fewer than {MIN_BEYOND} samples would lie beyond the quantile."
    )


def _about_open() -> str:
    return (
        "Arrivals are a Poisson process with a fixed seed and do not depend on answers. *No client free*: the share "
        "of requests that were due while every client still waited for an answer; that wait is in their latency. "
        "*Generator late*: how late free clients sent their requests, which is an error of the measurement."
    )


def _about_memory() -> str:
    return (
        "Read from outside, once per second, while clients asked. Growth is the median of the slopes between all pairs "
        "of samples. Closed and open loops are shown separately: batches of other sizes need other memory, which the "
        f"engine then keeps. *Flat*: the last quarter has at most {FLAT_SHARE:.0%} more than the first."
    )
