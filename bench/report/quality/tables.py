"""The tables of a quality run, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Table, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.quality import QualityContext
    from bench.data.quality_records import QualityRecord

NAMES = ("Strategy", "Engine", "Precision", "Model")

COLUMNS = {
    "Precision": "The number format in which the engine computed.",
    "Cosine, mean": "Mean cosine of a vector with plain sentence-transformers' vector of the same text. "
    "1 is the same direction.",
    "Cosine, p1": "1st percentile of these cosines: 99 of 100 texts are closer than that.",
    "Cosine, min": "The lowest of these cosines; the text is named below the table.",
    "Overlap@10": "Mean share of the reference's ten best documents that are among the cell's ten best, in any order.",
    "Texts": "Number of compared texts.",
    "MRR@10": "Mean over the queries of 1 / rank of the right document, 0 if it is not among the ten best "
    "(Voorhees 1999). Higher is better.",
    "Recall@10": "Share of the queries whose right document is among the ten best. Higher is better.",
    "Spearman": "Rank correlation of the cosine of two sentences with their human similarity score, over the "
    "pairs of the STS benchmark (Cer et al. 2017). A dash: no file was given, or the correlation is undefined. Higher "
    "is better.",
    "Queries": "Number of queries, and of documents; the uncertainty of MRR and recall depends on it.",
    "Pairs": "Number of sentence pairs in the STS file.",
}
"""What the columns mean. A column named "... ref." has the same figure of plain sentence-transformers."""


def vector_table(context: QualityContext) -> Table:
    """Return how close the vectors are to the reference's."""
    rows = tuple(
        (
            *first_columns(context, record),
            *(_shown(value, 7) for value in (figures.cosine_mean, figures.cosine_p1, figures.cosine_min)),
            _shown(figures.overlap_at_10),
            f"{figures.text_count:,}",
        )
        for record, figures in context.compared
    )
    headings = (*NAMES, "Cosine, mean", "Cosine, p1", "Cosine, min", "Overlap@10", "Texts")
    return Table(
        "Vectors, compared with plain sentence-transformers", headings, rows, 4, ("Precision", "Cosine, p1", "Texts")
    )


def task_table(context: QualityContext) -> Table:
    """Return how well the vectors perform at tasks, compared with the reference's."""
    rows = []
    for record, figures in context.compared:
        reference = context.reference_figures(record)
        pairs = [
            (_shown(getattr(figures, name)), _shown(getattr(reference, name, None)))
            for name in ("mrr_at_10", "recall_at_10", "sts_spearman")
        ]
        counts = (f"{figures.query_count:,}", f"{figures.sts_pair_count:,}")
        rows.append((*first_columns(context, record), *(text for pair in pairs for text in pair), *counts))
    columns = ("MRR@10", "MRR@10 ref.", "Recall@10", "Recall@10 ref.", "Spearman", "Spearman ref.")
    headings = (*NAMES, *columns, "Queries", "Pairs")
    details = ("Precision", "Pairs", "Recall@10 ref.", "Recall@10", "Queries")
    return Table("Tasks: search, and the similarity of sentences", headings, tuple(rows), 4, details)


def problem_table(context: QualityContext) -> Table:
    """Return the cells without a valid result."""
    rows = tuple(
        (context.strategy(record.cell), record.cell.engine or "-", record.cell.model_key, record.status, record.message)
        for record in context.records.values()
        if record.status != "ok"
    )
    return Table("Cells without a result", ("Strategy", "Engine", "Model", "Status", "Message"), rows, 5)


def first_columns(context: QualityContext, record: QualityRecord) -> Sequence[str]:
    """Return the first columns of a record's row."""
    facts = record.facts
    return (context.strategy(record.cell), str(facts["engine"]), str(facts["precision"]), record.cell.model_key)


def _shown(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def lowest_texts(context: QualityContext) -> str:
    """Return the text with the lowest cosine of each cell."""
    lines = [
        f"- {escape(', '.join(first_columns(context, record)))}: {escape(figures.cosine_min_text or '')}"
        for record, figures in context.compared
    ]
    return "\n".join(["The text with the lowest cosine:", "", *lines])
