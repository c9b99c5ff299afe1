"""The picture of the first screen: how long the first vector takes, with what this project replaces and with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.first_screen.bars import PALETTES, Bar, to_svg
from bench.report.first_screen.overview import show_time, show_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report.first_screen.overview import Overview, Row

TITLES = {
    "total_ms": "Time to the first vector",
    "results_ms": "Time to the first result",
    "first_embedding_ms": "Wait for the vector after other work",
}
"""By the metric that is shown."""


def draw(found: Overview, rows: Sequence[Row], model: str, name: str) -> Mapping[str, str]:
    """Return the picture of some rows, light and dark, by name without ending.

    Args:
        found: what the rows are of.
        rows: from top to bottom.
        model: what to call the model.
        name: of the picture.
    """
    bars = [_bar(row) for row in rows]
    return {
        f"{name}-{tone}": to_svg(TITLES[found.key], f"{model}, fresh processes, medians", bars, palette)
        for tone, palette in PALETTES.items()
    }


def _bar(row: Row) -> Bar:
    names = {
        "reference": f"plain {row.name}",
        "peer": row.name,
        "ours": f"loader, {row.name}",
        "service": "loader, with its service running",
    }
    faster = row.times_faster is not None and row.kind != "reference"
    return Bar(
        names[row.kind],
        row.time_ms,
        show_time(row.time_ms),
        f"{show_times(row.times_faster)} times faster" if faster else "",
        ours=row.kind in {"ours", "service"},
    )
