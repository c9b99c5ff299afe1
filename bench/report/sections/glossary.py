"""What the columns mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import MEMORY, METRICS_BY_KEY, STARTUP

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:  # noqa: ARG001 - the sections' protocol
    """Return the section."""
    metrics = [METRICS_BY_KEY[key] for key in (*STARTUP, *MEMORY)]
    return "## Columns\n\n" + "\n".join(f"- **{metric.title}** ({metric.unit}): {metric.meaning}" for metric in metrics)
