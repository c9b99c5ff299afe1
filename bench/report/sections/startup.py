"""The specification's startup table, where the time goes, and every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.plan.cell import EMPTY
from bench.report.document import Prose, Section
from bench.report.plots import pictures
from bench.report.published import NOTE, is_asked_for
from bench.report.tables import started, startup_tables

if TYPE_CHECKING:
    from bench.stats.context import Context

FOOTNOTES = {
    "model2vec": "model2vec is another model, the mean of one stored vector per token. Its vectors are checked to be "
    "finite and nonzero, not compared with the reference.",
    "import_numpy": "import\\_numpy embeds nothing: a process that only imports NumPy, which every program needs that "
    "wants arrays.",
    EMPTY: "empty\\_python embeds nothing. It is the floor: `python -c pass`, from spawn to exit. *Times empty*: the "
    "total divided by its, in the same round; median over the rounds.",
}
"""What has to be said of a subject wherever it is measured."""


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without such scenarios."""
    tables = startup_tables(context)
    if not tables:
        return None
    subjects = {summary.cell.subject for summary in started(context)}
    notes = [
        "Medians of fresh processes in interleaved rounds, with the 95 % interval of the total. *Ratio*: total divided "
        "by the reference's in the same round; median over the rounds, and its interval. *n*: counted samples. "
        "*Excluded*: samples that failed, or were disturbed and replaced. The glossary explains the other columns.",
        *([NOTE] if is_asked_for(context.manifest) else []),
        *(note for subject, note in FOOTNOTES.items() if subject in subjects),
    ]
    return Section("Startup time (ms)", (*tables, Prose("\n\n".join(notes)), *pictures(context, "phases", "strips")))
