"""Which packages the import time goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS_BY_KEY
from bench.report.profiles import MIN_SHARE, OTHERS, fold, imports_of, leading_packages
from bench.report.tables import Table, escape, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section; nothing for a run without this pass."""
    table = import_table(context)
    if not table.rows:
        return ""
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "Self time of each package's modules, from one more sample of each cell under `python -X importtime`, which "
        "makes it slower than a timed sample: compare the packages, not these times with those above. A module counts "
        "for the package it belongs to, whoever imports it; where several threads import at once, the interpreter "
        f"mixes them up. Packages below {MIN_SHARE:.0%} of every cell's imports are summed as {OTHERS}."
    )


def import_table(context: Context) -> Table:
    """Return a row per package that matters in any cell and a column per cell, in milliseconds."""
    cells = imports_of(context)
    packages = leading_packages(cells)
    folded = [fold(cell.times_ms, packages) for cell in cells]
    rows = [
        (package, *(_show(times[package]) for times in folded))
        for package in (*packages, OTHERS)
        if any(times[package] for times in folded)
    ]
    if folded:
        rows.append(("all imports", *(_show(sum(times.values())) for times in folded)))
    headings = ("Package", *(escape(cell.name) for cell in cells))
    return Table("Imports (ms)", headings, tuple(rows))


def _show(time_ms: float) -> str:
    return METRICS_BY_KEY["total_ms"].show(time_ms or None, unit=False)
