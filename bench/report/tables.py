"""The tables of a report, as data: Markdown and the terminal show the same rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.metrics import MEMORY, METRICS_BY_KEY, STARTUP
from bench.plan import SPECIFICATION, WARM
from bench.report.published import HEADINGS, published

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.context import Context
    from bench.stats import CellSummary

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class Table:
    """A title, headings and rows of text.

    Attributes:
        title: of the table.
        headings: one for each column.
        rows: texts, as many as headings.
        names: how many columns are names, on the left; the others are figures.
        details: headings of columns that a narrow terminal does without, the first to go first.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    details: tuple[str, ...] = ()


def started(context: Context) -> list[CellSummary]:
    """Return the cells that start-up is told of: those that wait for the model, or else those that ask at once."""
    return context.in_scenarios("idle") or context.in_scenarios("at_once")


def startup_table(context: Context) -> Table:
    """Return the specification's startup table: medians in milliseconds."""
    summaries = started(context)
    keys = list(STARTUP)
    if any(summary.cell.cache_state != WARM for summary in summaries):
        keys.append("disk_reads_mib")
    return _with_published(
        context, _figures(context, "Startup time (ms)", summaries, keys, "total_ms"), "startup", summaries
    )


def memory_table(context: Context) -> Table:
    """Return the specification's memory table: medians in MiB."""
    summaries = started(context) or context.in_scenarios("think_time")
    keys = list(MEMORY)
    if any("accelerator_mib" in summary.spreads for summary in summaries):
        keys.append("accelerator_mib")
    return _with_published(
        context, _figures(context, "Memory usage (MiB)", summaries, keys, "peak_mib"), "memory", summaries
    )


def concurrent_table(context: Context) -> Table:
    """Return what several processes take together: medians in MiB."""
    summaries = context.in_scenarios("concurrent")
    return _figures(context, "Memory of several processes (MiB)", summaries, ["together_mib"], "together_mib")


def experience_table(context: Context) -> Table:
    """Return the specification's third table: what the user of a program notices, a row for each strategy."""
    summaries = context.in_scenarios("at_once", "think_time", "search_command")
    if not summaries:
        return Table("Startup experience", ("Strategy",), ())
    summaries += context.in_scenarios("idle")
    scenarios = dict.fromkeys(summary.cell.scenario_label for summary in summaries)
    columns = [
        (label, key, heading.format(label.partition(" ")[2]))
        for name, figures in _EXPERIENCED.items()
        for label in scenarios
        if label.partition(" ")[0] == name
        for key, heading in figures.items()
    ]
    by_row: dict[str, dict[str, CellSummary]] = {}
    for summary in summaries:
        name = context.name(summary, summaries, with_scenario=False)
        by_row.setdefault(name, {})[summary.cell.scenario_label] = summary
    rows = []
    for name, by_scenario in by_row.items():
        figures = []
        for label, key, _ in columns:
            found = by_scenario.get(label)
            figures.append(METRICS_BY_KEY[key].show(found.median(key) if found else None, unit=False))
        rows.append((name, *figures))
    headings = tuple(heading for _, _, heading in columns)
    table = Table("Startup experience", ("Strategy", *headings), tuple(rows), details=headings[-3:])
    firsts = [next(iter(by_scenario.values())) for by_scenario in by_row.values()]
    return _with_published(context, table, "experience", firsts)


def _with_published(context: Context, table: Table, key: str, summaries: Sequence[CellSummary]) -> Table:
    """Return the table with the specification's own figures as its last column, in the run that repeats them."""
    if context.manifest.get("suite") != SPECIFICATION:
        return table
    heading = HEADINGS[key]
    rows = ((*row, published(key, summary.cell.strategy)) for row, summary in zip(table.rows, summaries, strict=True))
    return replace(table, headings=(*table.headings, heading), rows=tuple(rows))


_EXPERIENCED = {
    "search_command": {"results_ms": "aur search: results (ms)"},
    "idle": {"first_embedding_ms": "Preloaded: wait (ms)"},
    "at_once": {"total_ms": "Asked at once: vector (ms)"},
    "think_time": {
        "init_ms": "Before {}: init (ms)",
        "first_embedding_ms": "After {}: wait (ms)",
        "longest_stall_ms": "Longest stall (ms)",
        "total_stall_ms": "All stalls (ms)",
        "cpu_s": "CPU (s)",
    },
}
"""What the user of a program notices: by scenario, metrics and their headings, with the kind of other work in them."""


def problem_table(context: Context) -> Table:
    """Return the cells that have failed, unsupported, invalid or unverified samples."""
    watched = [record for record in context.records if record.instrument and record.status != "ok"]
    rows = [
        (context.name(summary), status, str(count), " ".join(message.split()))
        for summary in context.summaries
        for status, (count, message) in summary.problems.items()
    ]
    rows += [
        (f"{context.name(record)}, {record.instrument}", record.status, "1", " ".join(record.message.split()))
        for record in watched
    ]
    return Table("Samples that do not count", ("Strategy", "Status", "Samples", "Last message"), tuple(rows))


def to_markdown(table: Table) -> str:
    """Return the table in Markdown; text from outside cannot become markup."""
    aligned = ["---" if index < table.names else "---:" for index in range(len(table.headings))]
    lines = [table.headings, tuple(aligned), *(tuple(escape(text) for text in row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def show_ratio(ratio: float) -> str:
    """Return a ratio with as many decimals as mean something."""
    return f"{ratio:.2f}" if ratio >= 0.2 else f"{ratio:.3f}"


def _figures(
    context: Context, title: str, summaries: Sequence[CellSummary], keys: Sequence[str], leading: str
) -> Table:
    """Return a table of medians, and of the range and the ratio of the leading metric."""
    metric = METRICS_BY_KEY[leading]
    name = metric.title
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in keys))
    headings += (f"{name}, range", f"{name}, ratio", "Ratio, 95 %", "n")
    rows = []
    for summary in summaries:
        figures = [METRICS_BY_KEY[key].show(summary.median(key), unit=False) for key in keys]
        spread, ratio = summary.spreads.get(leading), summary.ratios.get(leading)
        span = (
            f"{metric.show(spread.minimum, unit=False)} to {metric.show(spread.maximum, unit=False)}" if spread else "-"
        )
        shown = show_ratio(ratio.median) if ratio else "1.00" if summary.cell.is_baseline and spread else "-"
        interval = ratio.interval if ratio else None
        bounds = f"{show_ratio(interval.low)} to {show_ratio(interval.high)}" if interval else "-"
        rows.append((context.name(summary, summaries), *figures, span, shown, bounds, str(spread.n if spread else 0)))
    return Table(title, headings, tuple(rows), details=("Ratio, 95 %", f"{name}, range"))
