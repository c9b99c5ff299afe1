"""What the columns mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS
from bench.report.document import Prose, Section

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> Section:
    """Return the section: every metric that a cell of the run has."""
    shown = {key for summary in context.measured for key in summary.spreads}
    lines = [f"- **{metric.title}** ({metric.unit}): {metric.meaning}" for metric in METRICS if metric.key in shown]
    return Section("Glossary", (Prose("\n".join([*lines, *WORDS])),))


WORDS = (
    "- **Sample**: one fresh process. **Round**: every cell once, in random order. **Cell**: one configuration.",
    "- **Reference**: plain sentence-transformers in the same round, called baseline.",
    "- **95 %**: the interval in which the median lies with that confidence, from the order of the samples alone "
    "(Conover, Practical Nonparametric Statistics, section 3.2); a dash: too few samples.",
)
"""What is not a metric."""
