"""Which packages the import time goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import METRICS_BY_KEY
from bench.report.document import Prose, Section, Table
from bench.report.plots import pictures
from bench.report.profiles import MIN_SHARE, OTHERS, fold, imports_of, leading_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.profiles import CellImports
    from bench.stats.context import Context

NOTE = (
    "Self time of each package's modules, from one extra sample of each cell under `python -X importtime`. That slows "
    "the imports down, so do not compare these times with those above. A module counts toward its own package, "
    "whichever package imports it; if several threads import at once, the interpreter mixes their times up. Packages "
    f"below {MIN_SHARE * 100:.0f} % of the import time in every cell are summed as {OTHERS}."
)
TITLE = "Imports (ms)"


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without this pass."""
    tables = import_tables(context)
    if not tables:
        return None
    return Section(TITLE, (*tables, Prose(NOTE), *pictures(context, "imports", "waterfall")))


def import_tables(context: Context) -> list[Table]:
    """Return for each model a row per package that matters in any cell and a column per cell, in milliseconds."""
    by_model: dict[str, list[CellImports]] = {}
    for cell in imports_of(context):
        by_model.setdefault(cell.model, []).append(cell)
    return [_table(f"{TITLE}: {name}" if name else TITLE, cells) for name, cells in by_model.items()]


def _table(title: str, cells: Sequence[CellImports]) -> Table:
    packages = leading_packages(cells)
    folded = [fold(cell.times_ms, packages) for cell in cells]
    rows = [
        (package, *(_show(times[package]) for times in folded))
        for package in (*packages, OTHERS)
        if any(times[package] for times in folded)
    ]
    rows.append(("all imports", *(_show(sum(times.values())) for times in folded)))
    return Table(title, ("Package", *(cell.name for cell in cells)), tuple(rows))


def _show(time_ms: float) -> str:
    return METRICS_BY_KEY["total_ms"].show(time_ms or None, unit=False)
