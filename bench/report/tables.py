"""The tables of a report, as data: Markdown, HTML and the terminal show the same rows.

Where a run has several models, each has a table of its own: figures of different models answer different questions.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.data.fidelity import WITHOUT_VECTORS
from bench.data.metrics import MEMORY, METRICS_BY_KEY, STARTUP
from bench.data.selection import ratios_by_round
from bench.plan.cell import EMPTY, WARM
from bench.report.document import Table
from bench.report.published import HEADINGS, MODEL, is_asked_for, published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.data.metrics import Metric
    from bench.stats.context import Context
    from bench.stats.intervals import Interval
    from bench.stats.summary import CellSummary


def started(context: Context) -> list[CellSummary]:
    """Return the cells that start-up is told of: those that wait for the model, or else those that ask at once."""
    return context.in_scenarios("idle") or context.in_scenarios("at_once")


def cells_by_model(context: Context, summaries: Sequence[CellSummary]) -> Iterator[tuple[str, list[CellSummary]]]:
    """Yield what a model is called and its cells; the name is "" where there is only one model in the run."""
    for model, name in context.models.items():
        mine = [summary for summary in summaries if summary.cell.model == model]
        if mine:
            yield (name if len(context.models) > 1 else ""), mine


def startup_tables(context: Context) -> list[Table]:
    """Return the specification's startup table of each model: medians in milliseconds."""

    def make(title: str, summaries: Sequence[CellSummary]) -> Table:
        keys = list(STARTUP)
        if any(summary.cell.cache_state != WARM for summary in summaries):
            keys.append("disk_reads_mib")
        table = _in_empty_programs(context, _figures(context, title, summaries, keys, "total_ms"), summaries)
        return _with_published(context, table, "startup", summaries)

    return _for_each_model(context, "Startup time (ms)", started(context), make)


def memory_tables(context: Context) -> list[Table]:
    """Return the specification's memory table of each model: medians in MiB."""

    def make(title: str, summaries: Sequence[CellSummary]) -> Table:
        keys = list(MEMORY)
        if any("accelerator_mib" in summary.spreads for summary in summaries):
            keys.append("accelerator_mib")
        table = _figures(context, title, summaries, keys, "peak_mib")
        return _with_published(context, table, "memory", summaries)

    summaries = started(context) or context.in_scenarios("think_time")
    known = [summary for summary in summaries if summary.cell.subject != EMPTY]  # only its time is known
    return _for_each_model(context, "Memory usage (MiB)", known, make)


def concurrent_tables(context: Context) -> list[Table]:
    """Return what several processes take together, for each model: medians in MiB."""

    def make(title: str, summaries: Sequence[CellSummary]) -> Table:
        return _figures(context, title, summaries, ["together_mib"], "together_mib")

    return _for_each_model(context, "Memory of several processes (MiB)", context.in_scenarios("concurrent"), make)


def experience_tables(context: Context) -> list[Table]:
    """Return the specification's third table of each model: what the user of a program notices.

    Of several lengths and kinds of other work, that of the most cells is shown; ``waiting_tables`` show all.
    """
    usual = {model: _usual_work(context, model) for model in context.models}
    summaries = [
        summary
        for summary in context.in_scenarios("at_once", "think_time", "search_command")
        if summary.cell.scenario != "think_time" or _work(summary) == usual[summary.cell.model]
    ]
    if not summaries:
        return []

    def make(title: str, summaries: Sequence[CellSummary]) -> Table:
        return _experience(context, title, summaries)

    return _for_each_model(context, "Startup experience", [*summaries, *context.in_scenarios("idle")], make)


def _work(summary: CellSummary) -> tuple[float, str]:
    return summary.cell.think_s, summary.cell.think_kind


def _usual_work(context: Context, model: str) -> tuple[float, str] | None:
    """Return length and kind of the other work that most cells of a model have, the longest of several."""
    found = [_work(summary) for summary in context.in_scenarios("think_time") if summary.cell.model == model]
    return max(found, key=lambda work: (found.count(work), work), default=None)


def waiting_tables(context: Context) -> list[Table]:
    """Return how long the first request waits by how long the program did something else before, for each model.

    None for a model that has only one length of other work.
    """

    def make(title: str, summaries: Sequence[CellSummary]) -> Table:
        metric = METRICS_BY_KEY["first_embedding_ms"]
        lengths = sorted({(summary.cell.think_kind, summary.cell.think_s) for summary in summaries})
        by_row: dict[str, dict[tuple[str, float], CellSummary]] = {}
        for summary in summaries:
            name = context.name(summary, summaries, with_scenario=False)
            by_row.setdefault(name, {})[summary.cell.think_kind, summary.cell.think_s] = summary
        rows = tuple(
            (
                name,
                *(shown(found, metric.key) if (found := mine.get(length)) else "-" for length in lengths),
            )
            for name, mine in by_row.items()
            if len(mine) > 1 or len(lengths) == 1
        )
        return Table(title, ("Strategy", *(f"after {think_s:g} s {kind}" for kind, think_s in lengths)), rows)

    tables = _for_each_model(context, "Waiting for the first vector (ms)", context.in_scenarios("think_time"), make)
    return [table for table in tables if len(table.headings) > 2]


def problem_table(context: Context) -> Table:
    """Return the cells that have failed, unsupported, invalid or unverified samples."""
    watched = [record for record in context.records if record.instrument and record.status != "ok"]
    rows = [
        (context.name(summary), status, str(count), message)
        for summary in context.summaries
        for status, (count, message) in summary.problems.items()
    ]
    rows += [(f"{context.name(record)}, {record.instrument}", record.status, "1", record.message) for record in watched]
    return Table("Samples that do not count", ("Strategy", "Status", "Samples", "Last message"), tuple(rows))


def show_ratio(ratio: float) -> str:
    """Return a ratio with as many decimals as mean something."""
    return f"{ratio:.3f}" if ratio < 0.2 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def show_interval(interval: Interval | None, show: Callable[[float], str]) -> str:
    """Return the bounds of an interval, ``-`` if there is none."""
    return f"{show(interval.low)} to {show(interval.high)}" if interval else "-"


def _for_each_model(
    context: Context,
    title: str,
    summaries: Sequence[CellSummary],
    make: Callable[[str, Sequence[CellSummary]], Table],
) -> list[Table]:
    return [make(f"{title}: {name}" if name else title, mine) for name, mine in cells_by_model(context, summaries)]


def _experience(context: Context, title: str, summaries: Sequence[CellSummary]) -> Table:
    """Return a row for each strategy, a column for each figure of each scenario."""
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
            figures.append(shown(found, key) if found else "-")
        rows.append((name, *figures))
    headings = tuple(heading for _, _, heading in columns)
    table = Table(title, ("Strategy", *headings), tuple(rows), details=headings[-3:])
    firsts = [next(iter(by_scenario.values())) for by_scenario in by_row.values()]
    return _with_published(context, table, "experience", firsts)


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


def _with_published(context: Context, table: Table, key: str, summaries: Sequence[CellSummary]) -> Table:
    """Return the table with the specification's own figures as its last column, in the run that repeats them."""
    if not is_asked_for(context.manifest):
        return table
    heading = HEADINGS[key]
    if not summaries[0].cell.model.endswith(MODEL):
        return table
    figures = [published(key, summary.cell.strategy) for summary in summaries]
    rows = ((*row, figure) for row, figure in zip(table.rows, figures, strict=True))
    return replace(table, headings=(*table.headings, heading), rows=tuple(rows))


def _figures(
    context: Context, title: str, summaries: Sequence[CellSummary], keys: Sequence[str], leading: str
) -> Table:
    """Return a table of medians, with the interval and the ratio of the leading metric, and what was left out."""
    metric = METRICS_BY_KEY[leading]
    name = metric.title
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in keys))
    headings += (f"{name}, 95 %", f"{name}, ratio", "Ratio, 95 %", "n", "Excluded")
    rows = tuple(
        (
            context.name(summary, summaries),
            *(shown(summary, key) for key in keys),
            *_leading(summary, metric),
            str(summary.excluded),
        )
        for summary in summaries
    )
    return Table(title, headings, rows, details=("Excluded", "Ratio, 95 %", f"{name}, 95 %"))


def _in_empty_programs(context: Context, table: Table, summaries: Sequence[CellSummary]) -> Table:
    """Return the table with how many times an empty program each cell takes, if that was measured beside them."""
    if all(summary.cell.subject != EMPTY for summary in summaries):
        return table
    rows = ((*row, _times_empty(context, summary)) for row, summary in zip(table.rows, summaries, strict=True))
    return replace(table, headings=(*table.headings, "Times empty"), rows=tuple(rows))


def _times_empty(context: Context, summary: CellSummary) -> str:
    metric = METRICS_BY_KEY["total_ms"]
    empty = next(
        (
            other.cell
            for other in context.measured
            if other.cell.subject == EMPTY
            and (other.cell.reference, other.machine) == (summary.cell.reference, summary.machine)
        ),
        None,
    )
    records = [record for record in context.chosen if record.machine == summary.machine]
    ratios = ratios_by_round(records, summary.cell, empty, metric) if empty is not None else []
    return show_ratio(statistics.median(ratios)) if ratios else "-"


def shown(summary: CellSummary, key: str) -> str:
    """Return a median as text; what embeds nothing has no embedding."""
    is_empty = key in {"first_embedding_ms", "second_embedding_ms"} and summary.cell.subject in WITHOUT_VECTORS
    return METRICS_BY_KEY[key].show(None if is_empty else summary.median(key), unit=False)


def _leading(summary: CellSummary, metric: Metric) -> tuple[str, str, str, str]:
    """Return the interval of the metric's median, its ratio to the reference, that one's interval, and n."""
    spread, ratio = summary.spreads.get(metric.key), summary.ratios.get(metric.key)
    around = show_interval(spread.interval if spread else None, lambda value: metric.show(value, unit=False))
    shown = show_ratio(ratio.median) if ratio else "1.00" if summary.cell.is_baseline and spread else "-"
    return around, shown, show_interval(ratio.interval if ratio else None, show_ratio), str(spread.n if spread else 0)
