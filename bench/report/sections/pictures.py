"""The pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.plots import plots_of

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    return "\n\n".join(f"![{plot.caption}](plots/{plot.name}.png)" for plot in plots_of(context))
