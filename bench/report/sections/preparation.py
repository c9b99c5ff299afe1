"""What was made once before the first sample, and what that took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.metrics import MIB
from bench.report.document import Prose, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.report.context import Context

NOTE = (
    "Made once for each model and kept (`python -m loader compile`), so it is in none of the times above. The cosine "
    "is the lowest with the original's vectors on a fixed set of texts, by engine."
)


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run that prepared nothing."""
    preparations = context.manifest.get("preparations", [])
    if not preparations:
        return None
    headings = ("Model", "Precision", "Seconds", "Size (MiB)", "Lowest cosine", "Problem")
    table = Table("One-time preparation", headings, tuple(map(_row, preparations)), names=2)
    return Section(table.title, (table, Prose(NOTE)))


def _row(preparation: Mapping[str, Any]) -> tuple[str, ...]:
    model, precision = str(preparation["model"]), str(preparation["precision"])
    if "error" in preparation:
        return (model, precision, "-", "-", "-", str(preparation["error"]))
    cosines = preparation["min_cosine_by_engine"]
    lowest = ", ".join(f"{engine} {value:.5f}" for engine, value in cosines.items())
    return (model, precision, f"{preparation['seconds']:.1f}", f"{preparation['bytes'] / MIB:.1f}", lowest, "-")
