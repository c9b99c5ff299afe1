"""The tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.tables import Table, memory_table, problem_table, startup_table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.context import Context

WIDE = 96
"""Columns from which the tables fit whole; below, the ranges stay in the report."""

MAX_UNBROKEN = 24
"""Characters up to which a column's longest text is never broken."""

PLAIN_WIDTH = 120
"""Columns where the output is not a terminal, so that a log shows whole rows."""


def show(context: Context, report: Path, *, quiet: bool) -> None:
    """Print the tables (not if ``quiet``) and the path of the report on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    if not quiet:
        for table in (startup_table(context), memory_table(context), problem_table(context)):
            if table.rows:
                console.print(_to_rich(table if console.width >= WIDE else _without_ranges(table)))
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)


def _without_ranges(table: Table) -> Table:
    kept = [index for index, heading in enumerate(table.headings) if not heading.endswith(", range")]
    rows = tuple(tuple(row[index] for index in kept) for row in table.rows)
    return Table(table.title, tuple(table.headings[index] for index in kept), rows)


def _to_rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(table.headings):
        # Where the terminal is narrow, headings wrap and messages fold; names and figures stay whole.
        whole = max((len(row[index]) for row in table.rows), default=0) <= MAX_UNBROKEN
        rich.add_column(
            Text(heading),
            justify="right" if index and whole else "left",
            min_width=max(len(row[index]) for row in table.rows) if whole else None,
            overflow="fold",
        )
    for row in table.rows:
        rich.add_row(*(Text(text) for text in row))
    return rich
