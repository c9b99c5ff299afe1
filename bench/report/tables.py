"""The tables of a report, as data: Markdown and the terminal show the same rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.metrics import MEMORY, METRICS_BY_KEY, STARTUP

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


def startup_table(context: Context) -> Table:
    """Return the specification's startup table: medians in milliseconds."""
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in STARTUP), "Total, range", "Total, ratio", "n")
    rows = tuple(_row(context, summary, STARTUP, "total_ms") for summary in context.measured)
    return Table("Startup time (ms)", headings, rows, details=("Total, range",))


def memory_table(context: Context) -> Table:
    """Return the specification's memory table: medians in MiB."""
    headings = ("Strategy", *(METRICS_BY_KEY[key].title for key in MEMORY), "Peak, range", "Peak, ratio", "n")
    rows = tuple(_row(context, summary, MEMORY, "peak_mib") for summary in context.measured)
    return Table("Memory usage (MiB)", headings, rows, details=("Peak, range",))


def problem_table(context: Context) -> Table:
    """Return the cells that have failed, unsupported or invalid samples."""
    rows = tuple(
        (context.name(summary.cell), status, str(count), " ".join(message.split()))
        for summary in context.summaries.values()
        for status, (count, message) in summary.problems.items()
    )
    return Table("Samples that do not count", ("Strategy", "Status", "Samples", "Last message"), rows)


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


def _row(context: Context, summary: CellSummary, keys: Sequence[str], leading: str) -> tuple[str, ...]:
    figures = [METRICS_BY_KEY[key].show(summary.median(key), unit=False) for key in keys]
    spread, metric = summary.spreads.get(leading), METRICS_BY_KEY[leading]
    shown = f"{metric.show(spread.minimum, unit=False)} to {metric.show(spread.maximum, unit=False)}" if spread else "-"
    ratios = {leading: 1.0} if summary.cell.is_baseline else summary.ratios
    ratio = show_ratio(ratios[leading]) if leading in ratios else "-"
    return (context.name(summary.cell), *figures, shown, ratio, str(spread.n if spread else 0))
