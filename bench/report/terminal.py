"""The tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.tables import memory_table, problem_table, startup_table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.context import Context
    from bench.report.tables import Table

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
                console.print(_to_rich(table))
    console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)


def _to_rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left", title_style="bold")
    for index, heading in enumerate(table.headings):
        rich.add_column(Text(heading), justify="right" if index else "left")
    for row in table.rows:
        rich.add_row(*(Text(text) for text in row))
    return rich
