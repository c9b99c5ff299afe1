"""How start-up grows with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.plots import pictures

if TYPE_CHECKING:
    from bench.stats.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run that has fewer than two models of known size."""
    found = pictures(context, "model_size")
    if not found:
        return None
    note = "Every sample, and a line through the medians of each strategy. A flat line: size does not matter."
    return Section("Startup time and size of the model", (*found, Prose(note)))
