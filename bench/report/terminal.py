"""A report on the terminal: its tables, and last, right above the prompt, its first screen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.document import Range, Table, one_line, unescape
from bench.report.first_screen.lead import lead
from bench.report.markdown import RANGE_COLUMNS
from bench.report.tables import (
    concurrent_tables,
    experience_tables,
    memory_tables,
    problem_table,
    startup_tables,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.box import Box

    from bench.report.first_screen.lead import Lead
    from bench.stats.context import Context

WIDE = 96
"""Columns from which tables show details, as far as they fit; below, details stay in the report."""

MAX_UNBROKEN = 24
"""Characters up to which a column's longest text is never broken."""

LINES = 24
"""Lines that the first screen fits, with the path and a prompt."""

PLAIN_WIDTH = 120
"""Columns where the output is not a terminal, so that a log shows whole rows."""


def show(context: Context, report: Path, *, quiet: bool) -> None:
    """Print a report (not if ``quiet``) and its path on stdout.

    The tables come first: at the end of a long output, what stands last is what is seen.
    """
    if not quiet:
        makers = (startup_tables, experience_tables, memory_tables, concurrent_tables)
        tables = [table for make in makers for table in make(context)]
        show_tables([*tables, problem_table(context)], None, quiet=False)
        _show_lead(_console(), lead(context))
    show_tables([], report, quiet=quiet)


def _show_lead(console: Console, first: Lead) -> None:
    """Print the first screen, which fits 80 columns and 24 lines together with the path and a prompt."""
    parts: list[list[Text | RichTable]] = [[Text(one_line(unescape(first.headline)), style="bold")]]
    if first.table is not None:
        parts.append([_fitting(_cleaned(first.table), console.width, box=None)])
    if first.uses is not None:
        parts.append([])
        for use, strategy, why in _cleaned(first.uses).rows:
            named = Text.assemble((str(strategy), "bold"), ". ") if strategy != "-" else Text()
            parts[-1].append(Text.assemble(f"{use}: ", named, f"{why}."))
    # A line goes to the path, and one to the prompt. Where there is no room for blank lines, the first is left out.
    lines = sum(len(console.render_lines(each)) for part in parts for each in part)
    blank_from = len(parts) - max(LINES - 2 - lines, 0)
    for number, part in enumerate(parts):
        if number and number >= blank_from:
            console.print()
        for each in part:
            console.print(each, highlight=False)


def show_tables(tables: Sequence[Table], report: Path | None, *, quiet: bool) -> None:
    """Print those of the tables that have rows (none if ``quiet``) and the path of the report, if any, on stdout."""
    console = _console()
    if not quiet:
        for table in tables:
            if table.rows:
                console.print(_fitting(_cleaned(table), console.width))
    if report is not None:
        console.print(f"Report: {report}", markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _cleaned(table: Table) -> Table:
    """Return the table with nothing in it that a terminal would obey."""
    rows = tuple(
        tuple(content.drawn(RANGE_COLUMNS) if isinstance(content, Range) else one_line(str(content)) for content in row)
        for row in table.rows
    )
    return replace(table, title=one_line(table.title), headings=tuple(map(one_line, table.headings)), rows=rows)


def _fitting(table: Table, width: int, box: Box | None = SIMPLE_HEAD) -> RichTable:
    """Return the table with as many of its details as fit into this many columns of text.

    Without a box it is the first screen's, which shows details on narrow terminals as well.
    """
    for dropped in range(0 if width >= WIDE or box is None else len(table.details), len(table.details) + 1):
        shown = _without(table, table.details[:dropped])
        columns = [_column_widths(shown, index) for index in range(len(shown.headings))]
        between = len(columns) if box is None else 2 * len(columns) + 1
        spare = width - between - sum(needed for needed, _ in columns)
        if spare >= 0:
            widths = []
            for needed, wanted in columns:
                widths.append(needed + min(spare, wanted - needed))
                spare -= widths[-1] - needed
            return _to_rich(shown, widths, box)
    return _to_rich(shown, None, box)  # not even the rest fits: names and figures fold


def _column_widths(table: Table, index: int) -> tuple[int, int]:
    """Return the narrowest a column can be, and as wide as it would like to be.

    Headings wrap and messages fold; names and figures stay whole.
    """
    text = max((cell_len(str(row[index])) for row in table.rows), default=0)
    words = max(map(cell_len, table.headings[index].split()))
    return max(min(text, MAX_UNBROKEN), words), max(text, cell_len(table.headings[index]))


def _without(table: Table, headings: Sequence[str]) -> Table:
    kept = [index for index, heading in enumerate(table.headings) if heading not in headings]
    rows = tuple(tuple(row[index] for index in kept) for row in table.rows)
    names = sum(index < table.names for index in kept)
    return Table(table.title, tuple(table.headings[index] for index in kept), rows, names)


def _to_rich(table: Table, widths: Sequence[int] | None, box: Box | None) -> RichTable:
    """Return the table for the terminal, with columns of these widths or, without them, as it comes."""
    title = table.title or None
    rich = RichTable(title=title, title_justify="left", title_style="bold", box=box, padding=(0, 1, 0, 0))
    for index, heading in enumerate(table.headings):
        is_figure = (
            index >= table.names and max((cell_len(str(row[index])) for row in table.rows), default=0) <= MAX_UNBROKEN
        )
        rich.add_column(
            Text(heading),
            justify="right" if is_figure else "left",
            width=widths[index] if widths is not None else None,
            overflow="fold",
        )
    for row in table.rows:
        rich.add_row(*(Text(str(content)) for content in row))
    return rich
