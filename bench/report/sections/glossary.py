"""What the columns mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.metrics import METRICS
from bench.plan.cell import WARM
from bench.report.document import Prose, Section

if TYPE_CHECKING:
    from bench.stats.context import Context


def render(context: Context) -> Section:
    """Return the section: every metric that a cell of the run has."""
    shown = {key for summary in context.measured for key in summary.spreads}
    if all(summary.cell.cache_state == WARM for summary in context.measured):
        shown.discard("disk_reads_mib")  # nothing is read, and no table has it
    lines = [f"- **{metric.title}** ({metric.unit}): {metric.meaning}" for metric in METRICS if metric.key in shown]
    return Section("Glossary", (Prose("\n".join([*lines, *WORDS])),))


WORDS = (
    "- **Sample**: one fresh process. **Round**: every cell once, in random order. **Cell**: one configuration.",
    "- **Disturbed**: other work used more CPU time than the protocol allows, so the sample is repeated.",
    "- **Statistically tied**: the noise of this run could explain the difference; see *The recommendation, step by "
    "step*.",
    "- **Private** memory belongs to one process; the rest is file-mapped pages, which processes share.",
    "- **Peak of the service**, in the first table: the program's peak, plus the memory of the service process.",
    "- **Reference**: plain sentence-transformers in the same round, called baseline.",
    "- **95 %**: the confidence interval of the median, from order statistics (Conover, Practical Nonparametric "
    "Statistics, section 3.2). A dash: too few samples. The first table draws it on a logarithmic scale.",
)
"""What is not a metric."""
