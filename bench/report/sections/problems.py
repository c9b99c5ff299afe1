"""Samples that do not count, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.fidelity import MIN_COSINE
from bench.report.tables import problem_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    table = problem_table(context)
    compared = [record for record in context.records if record.counts and record.cosines]
    lines = [f"## {table.title}" if table.rows else "## Fidelity"]
    if table.rows:
        lines.append(to_markdown(table))
    by_precision: dict[str, list[float]] = {}
    for record in compared:
        if not record.cell.is_baseline:
            by_precision.setdefault(str(record.facts.get("precision")), []).extend(record.cosines)
    for precision, cosines in sorted(by_precision.items()):
        lines.append(
            f"{precision}: the lowest cosine with the vectors of plain sentence-transformers is {min(cosines):.7f}, "
            f"over {len(cosines)} vectors of counted samples. Below {MIN_COSINE.get(precision, 1.0)} a sample does "
            "not count."
        )
    if not by_precision and not table.rows:
        lines.append("No vector was compared with a reference in this run.")
    return "\n\n".join(lines)
