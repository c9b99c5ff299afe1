"""What the columns mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import METRICS
from bench.plan import WARM
from bench.report.document import Prose, Section

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> Section:
    """Return the section: every metric that a cell of the run has."""
    shown = {key for summary in context.measured for key in summary.spreads}
    if all(summary.cell.cache_state == WARM for summary in context.measured):
        shown.discard("disk_reads_mib")  # nothing is read, and no table has it
    lines = [f"- **{metric.title}** ({metric.unit}): {metric.meaning}" for metric in METRICS if metric.key in shown]
    return Section("Glossary", (Prose("\n".join([*lines, *WORDS])),))


WORDS = (
    "- **Sample**: one fresh process. **Round**: every cell once, in random order. **Cell**: one configuration.",
    "- **Disturbed**: other work on the machine took more of the processors meanwhile than the protocol allows; the "
    "sample is "
    "taken again.",
    "- **Simplest**: of several that cannot be told apart, the one that does least: the order is that of *What was "
    "measured*.",
    "- **Private** memory belongs to the process alone; the rest are pages of files, which several processes share.",
    "- **Reference**: plain sentence-transformers in the same round, called baseline.",
    "- **95 %**: the interval in which the median lies with that confidence, from the order of the samples alone "
    "(Conover, Practical Nonparametric Statistics, section 3.2); a dash: too few samples.",
)
"""What is not a metric."""
