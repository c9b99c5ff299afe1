"""The verdict on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from bench.gate.outputs.rows import changes_table, dependencies_table, limits_table
from bench.gate.outputs.wording import footnote, headline
from bench.report.terminal import show_tables

if TYPE_CHECKING:
    from pathlib import Path

    from bench.gate.decide.verdict import Result, Verdict

STYLES: dict[Result, str] = {"ok": "bold green", "regression": "bold red", "inconclusive": "bold yellow"}


def show(verdict: Verdict, folder: Path, quiet: bool) -> None:
    """Print the verdict in one line, then (not if ``quiet``) its tables, and where the report is, on stdout."""
    console = Console()
    console.print(Text(headline(verdict), style=STYLES[verdict.result]), soft_wrap=True)
    tables = [make(verdict) for make in (changes_table, limits_table, dependencies_table)]
    show_tables(tables, None, quiet=quiet)
    if not quiet:
        console.print(footnote(verdict), highlight=False, soft_wrap=True)
    console.print(f"Report: {folder / 'verdict.md'}", markup=False, highlight=False, soft_wrap=True)
