"""Every metric, as one table: what it is called, its unit, which way is better, how it is derived and printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.data.records import Record
    from bench.plan.cell import Cell

MIB = 2**20

FLOORS = {"ms": 2.0, "s": 0.002, "MiB": 2.0}
"""By how much a figure must grow to matter, by unit: users do not notice less."""


@dataclass(frozen=True)
class Metric:
    """One figure of a sample.

    Attributes:
        key: column name; ends with the unit.
        title: heading in tables.
        unit: ``"ms"``, ``"MiB"`` or ``"s"``.
        meaning: one sentence for the glossary.
        derive: the value of an ``ok`` record, or None where it has none.
        lower_is_better: which way is better.
    """

    key: str
    title: str
    unit: str
    meaning: str
    derive: Callable[[Record], float | None]
    lower_is_better: bool = True

    def __reduce__(self) -> tuple[Callable[[str], Metric], tuple[str]]:
        """Travel to another process by name: functions made here do not."""
        return _named, (self.key,)

    def value(self, record: Record) -> float | None:
        """Return the value, None for a record that is not ``ok``."""
        return self.derive(record) if record.status == "ok" else None

    def show(self, value: float | None, *, unit: bool = True) -> str:
        """Return the value as text, with as many digits as mean something."""
        if value is None or value != value:  # NaN: no sample had one
            return "-"
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        text = f"{value:,.{digits}f}"
        return f"{text} {self.unit}" if unit else text


def _named(key: str) -> Metric:
    return METRICS_BY_KEY[key]


def _between_ms(start: str, end: str) -> Callable[[Record], float | None]:
    def derive(record: Record) -> float | None:
        marks = record.marks_ns
        return (marks[end] - marks[start]) / 1e6 if start in marks and end in marks else None

    return derive


def _memory_mib(mark: str, kind: str) -> Callable[[Record], float | None]:
    def derive(record: Record) -> float | None:
        value = record.memory.get(mark, {}).get(kind)
        return value / MIB if value is not None else None

    return derive


def _heartbeat_ms(name: str) -> Callable[[Record], float | None]:
    def derive(record: Record) -> float | None:
        value = record.heartbeat.get(name)
        return value * 1000 if value is not None else None

    return derive


METRICS: tuple[Metric, ...] = (
    Metric(
        "init_ms",
        "Init Time",
        "ms",
        "From the first line of the process to the end of start_loading(): importing the library and constructing the "
        "loader. The main thread is blocked for this long.",
        _between_ms("python_up", "started"),
    ),
    Metric(
        "ready_ms",
        "Model Ready",
        "ms",
        "From start_loading() until the model is ready. A dash: nothing loads before the first request.",
        _between_ms("started", "ready"),
    ),
    Metric(
        "first_embedding_ms",
        "First Embedding",
        "ms",
        "From the first request to its vector. If nothing was loaded before, this includes the load.",
        _between_ms("requested", "first_embedding"),
    ),
    Metric(
        "total_ms",
        "Total",
        "ms",
        "From the spawn of the process to its first vector, including interpreter start and all imports.",
        _between_ms("spawn", "first_embedding"),
    ),
    Metric(
        "process_ms",
        "Whole Process",
        "ms",
        "From the spawn of the process to its end, timed from outside.",
        _between_ms("spawn", "exit"),
    ),
    Metric(
        "results_ms",
        "Results",
        "ms",
        "From the start of the program to its first line of output: how long the user of a search waits.",
        _between_ms("spawn", "results"),
    ),
    Metric(
        "longest_stall_ms",
        "Longest Stall",
        "ms",
        "The longest delay that loading caused in the main thread's other work.",
        _heartbeat_ms("longest_stall_s"),
    ),
    Metric(
        "total_stall_ms",
        "All Stalls",
        "ms",
        "The sum of the delays of the main thread's other work that lasted at least 2 ms.",
        _heartbeat_ms("total_stall_s"),
    ),
    Metric(
        "python_ms",
        "Python",
        "ms",
        "From the spawn of the process to the first line that it runs.",
        _between_ms("spawn", "python_up"),
    ),
    Metric("import_ms", "Import", "ms", "Importing the library.", _between_ms("python_up", "imported")),
    Metric("construct_ms", "Construct", "ms", "Constructing its object.", _between_ms("imported", "constructed")),
    Metric("start_ms", "Start", "ms", "Starting the load.", _between_ms("constructed", "started")),
    Metric(
        "exit_ms",
        "Exit",
        "ms",
        "From the second vector to the end of the process, including the harness's own bookkeeping.",
        _between_ms("second_embedding", "exit"),
    ),
    Metric(
        "second_embedding_ms",
        "Second Embedding",
        "ms",
        "The next vector, of a longer text, once everything is warm.",
        _between_ms("first_embedding", "second_embedding"),
    ),
    Metric("cpu_s", "CPU", "s", "CPU time of the process up to its second vector.", lambda r: r.cpu_s),
    Metric(
        "peak_mib",
        "Peak",
        "MiB",
        "Highest resident memory of the process up to its second vector (VmHWM).",
        _memory_mib("steady", "peak_rss_bytes"),
    ),
    Metric(
        "steady_mib",
        "Steady State",
        "MiB",
        "Resident memory after the second vector (VmRSS).",
        _memory_mib("steady", "rss_bytes"),
    ),
    Metric(
        "anonymous_mib",
        "Anonymous",
        "MiB",
        "The private part of the steady state (RssAnon).",
        _memory_mib("steady", "rss_anon_bytes"),
    ),
    Metric(
        "mapped_mib",
        "File-mapped",
        "MiB",
        "The file-mapped part of the steady state, such as weights and shared libraries (RssFile). Processes share it.",
        _memory_mib("steady", "rss_file_bytes"),
    ),
    Metric(
        "together_mib",
        "Together",
        "MiB",
        "What all processes of the sample take together (sum of their proportional set sizes).",
        _memory_mib("together", "pss_bytes"),
    ),
    Metric(
        "accelerator_mib",
        "GPU Peak",
        "MiB",
        "The most memory that PyTorch reserved on the accelerator.",
        _memory_mib("steady", "accelerator_peak_bytes"),
    ),
    Metric(
        "disk_reads_mib",
        "Read from Disk",
        "MiB",
        "What the system read from storage for the process; nothing while files are in the page cache.",
        lambda record: record.io["read_bytes"] / MIB if "read_bytes" in record.io else None,
    ),
)

METRICS_BY_KEY = {metric.key: metric for metric in METRICS}
LEADING_BY_SCENARIO = {"search_command": "results_ms", "concurrent": "together_mib", "command": "process_ms"}
"""The metric that the ratios of a scenario are made of; ``total_ms`` for all others."""


def leading_metric(cell: Cell) -> Metric:
    """Return the metric that a cell is judged by."""
    return METRICS_BY_KEY[LEADING_BY_SCENARIO.get(cell.scenario, "total_ms")]


STARTUP = ("init_ms", "ready_ms", "first_embedding_ms", "total_ms")
PHASES = (
    "python_ms",
    "import_ms",
    "construct_ms",
    "start_ms",
    "ready_ms",
    "first_embedding_ms",
    "second_embedding_ms",
    "exit_ms",
)
"""Keys of what a process does one after the other."""

MEMORY = ("peak_mib", "steady_mib", "anonymous_mib", "mapped_mib")
"""Keys of the columns of the specification's two tables."""
