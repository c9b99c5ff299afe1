"""What was made once before the first sample, and what that took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import MIB
from bench.report.document import Prose, Section, Table

if TYPE_CHECKING:
    from bench.data.manifest_parts import Preparation
    from bench.stats.context import Context

NOTE = (
    "Prepared once for each model and kept (`python -m loader compile`), so none of the times above include it. "
    "*Lowest cosine*: with the original's vectors of a fixed set of texts, by engine."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run that prepared nothing."""
    preparations = context.manifest.preparations
    if not preparations:
        return None
    headings = ("Model", "Precision", "Seconds", "Size (MiB)", "Lowest cosine", "Problem")
    table = Table("One-time preparation", headings, tuple(map(_row, preparations)), names=2)
    return Section(table.title, (table, Prose(NOTE)))


def _row(made: Preparation) -> tuple[str, ...]:
    lowest = ", ".join(f"{engine} {value:.5f}" for engine, value in (made.min_cosine_by_engine or {}).items())
    return (
        made.model or "-",
        made.precision or "-",
        "-" if made.seconds is None else f"{made.seconds:.1f}",
        "-" if made.bytes is None else f"{made.bytes / MIB:.1f}",
        lowest or "-",
        made.error or "-",
    )
