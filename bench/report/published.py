"""The figures that the specification published, as data: what a report can show beside its own.

They come from other code on another machine, so no ratio of theirs to ours means anything. Times are in
milliseconds; memory is in MB as published, which does not say whether a million bytes or 2**20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.plan.cell import FULL, SPECIFICATION

if TYPE_CHECKING:
    from bench.data.manifest import Manifest

MODEL = "all-MiniLM-L6-v2"
"""What they were measured with; names of it end so."""

NOTE = (
    "The published figures are the specification's, from a different machine (Intel i7-8550U) and different code, so "
    "compare only their order. Its quantized strategy was never implemented."
)
"""What has to stand below a table that shows them."""


@dataclass(frozen=True)
class Published:
    """A row of the specification's tables.

    Attributes:
        strategy: as in ours.
        init_ms: what the main thread pays before it can go on.
        ready_ms: from then until the model is ready; None where nothing loads by itself.
        first_embedding_ms: from the request to the vector.
        total_ms: all of these.
        peak_mb: highest memory.
        steady_mb: memory afterwards.
        experience: what the user of ``aur search "database connection"`` notices.
    """

    strategy: str
    init_ms: int
    ready_ms: int | None
    first_embedding_ms: int
    total_ms: int
    peak_mb: int
    steady_mb: int
    experience: str


PUBLISHED = (
    Published("lazy", 8, None, 3200, 3208, 244, 244, "3.2 s before results"),
    Published("background", 7, 3100, 50, 3157, 248, 244, "under 0.1 s if preloaded"),
    Published("progressive", 9, 2800, 45, 2854, 246, 244, "under 0.1 s if preloaded"),
    Published("quantized", 8, 2400, 48, 2456, 145, 130, "2.4 s"),
)
"""In the specification's order."""

_BY_STRATEGY = {row.strategy: row for row in PUBLISHED}


def is_asked_for(manifest: Manifest) -> bool:
    """Whether a run, or one of those that it was merged from, is of a suite that shows these figures beside its own."""
    return any(run.suite in {SPECIFICATION, FULL} for run in manifest.runs)


HEADINGS = {
    "startup": "Published: init / ready / first / total (ms)",
    "memory": "Published: peak / steady (MB)",
    "experience": "Published",
}
"""Headings of the columns that ``published`` fills, by table."""


def published(table: str, strategy: str) -> str:
    """Return what a table shows of a strategy, ``-`` where nothing was published.

    Args:
        table: a key of ``HEADINGS``.
        strategy: as in ours.
    """
    if table == "experience":
        return published_experience(strategy) or "-"
    figures = published_startup(strategy) if table == "startup" else published_memory(strategy)
    return " / ".join(figures) if figures else "-"


def published_startup(strategy: str) -> tuple[str, str, str, str] | None:
    """Return Init, Ready, First Embedding and Total in ms as texts, None for a strategy that was not published."""
    row = _BY_STRATEGY.get(strategy)
    if row is None:
        return None
    ready = "-" if row.ready_ms is None else _show(row.ready_ms)
    return _show(row.init_ms), ready, _show(row.first_embedding_ms), _show(row.total_ms)


def published_memory(strategy: str) -> tuple[str, str] | None:
    """Return the peak and what stays, in MB as texts, None for a strategy that was not published."""
    row = _BY_STRATEGY.get(strategy)
    return (_show(row.peak_mb), _show(row.steady_mb)) if row else None


def published_experience(strategy: str) -> str | None:
    """Return what the user of a search notices, None for a strategy that was not published."""
    row = _BY_STRATEGY.get(strategy)
    return row.experience if row else None


def _show(value: int) -> str:
    return f"{value:,}"
