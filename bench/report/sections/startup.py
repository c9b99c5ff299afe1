"""The specification's startup table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.tables import started, startup_table, to_markdown

if TYPE_CHECKING:
    from bench.report.context import Context

FOOTNOTES = {
    "model2vec": "model2vec is another model: one stored vector for each token, and their mean. Its vectors are "
    "checked to be finite and not zero; they are not compared with the reference.",
}
"""What has to be said of a subject wherever it is measured."""


def render(context: Context) -> str:
    """Return the section."""
    table = startup_table(context)
    if not table.rows:
        return ""
    subjects = {summary.cell.subject for summary in started(context)}
    return "\n\n".join(
        [
            f"## {table.title}",
            to_markdown(table),
            "Medians of fresh processes, measured in interleaved rounds. Ratio: a strategy's total divided by the "
            "reference's in the same round, median over the rounds, and where that median lies with 95 % confidence. "
            "The columns are explained at the end.",
            *(note for subject, note in FOOTNOTES.items() if subject in subjects),
        ]
    )
