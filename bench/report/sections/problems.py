"""Failed and unsupported cells, and how near the vectors of the timed samples were to the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.fidelity import MIN_COSINE
from bench.report.document import Prose, Section, escape
from bench.report.tables import problem_table

if TYPE_CHECKING:
    from bench.stats.context import Context


def render(context: Context) -> Section:
    """Return the section."""
    table = problem_table(context)
    lines = []
    by_precision: dict[str, list[float]] = {}
    for record in context.records:
        if record.counts and record.cosines and not record.cell.is_baseline:
            by_precision.setdefault(str(record.facts.get("precision")), []).extend(record.cosines)
    for precision, cosines in sorted(by_precision.items()):
        lines.append(
            f"{escape(precision)}: the lowest cosine with the vectors of plain sentence-transformers is "
            f"{min(cosines):.7f}, over {len(cosines)} vectors. Samples below {MIN_COSINE.get(precision, 1.0)} do not "
            "count."
        )
    if not lines:
        lines.append("No vector was compared with a reference in this run.")
    if not table.rows:
        lines.insert(0, NOTHING_FAILED)
        return Section("Fidelity", (Prose("\n\n".join(lines)),))
    return Section("Fidelity, and samples that do not count", (table, Prose("\n\n".join(lines))))


NOTHING_FAILED = "No sample failed, was unsupported or had wrong vectors."
