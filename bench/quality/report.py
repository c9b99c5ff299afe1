"""The report of a quality run, from its records and manifest alone; the same records give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environment import read_manifest
from bench.plan import Cell
from bench.quality.records import Figures, QualityRecord, read_quality_records
from bench.quality.run import RECORDS_FILE
from bench.report.sections import environment, repeat
from bench.report.tables import Table, escape, to_markdown
from bench.report.terminal import show_tables
from bench.run import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAMES = ("Strategy", "Engine", "Precision", "Model")

COLUMNS = {
    "Precision": "What the engine computed in.",
    "Cosine, mean": "Mean cosine of a vector with the vector that plain sentence-transformers gives for the same text. "
    "1 is the same direction.",
    "Cosine, p1": "1st percentile of these cosines: 99 of 100 texts are closer than that.",
    "Cosine, min": "The lowest of these cosines; the text is named below the table.",
    "Overlap@10": "Mean share of the reference's ten best documents that are among the cell's ten best, in any order.",
    "Texts": "How many texts were compared.",
    "MRR@10": "Mean over the queries of 1 / rank of the right document, 0 if it is not among the ten best "
    "(Voorhees 1999). Higher is better.",
    "Recall@10": "Share of the queries whose right document is among the ten best. Higher is better.",
    "Spearman": "Rank correlation of the cosine of two sentences with the similarity that people gave them, over the "
    "pairs of the STS benchmark (Cer et al. 2017). A dash: no file was given, or the correlation is undefined. Higher "
    "is better.",
    "Queries": "How many queries there are, and as many documents; the uncertainty of MRR and recall comes from them.",
    "Pairs": "How many pairs of sentences the STS file has.",
}
"""What the columns mean. A column named "... ref." has the same figure of plain sentence-transformers."""


@dataclass(frozen=True)
class QualityContext:
    """A quality run, ready to be reported.

    Attributes:
        manifest: see ``bench.environment``.
        records: by cell, in the order of the plan.
    """

    manifest: Mapping[str, Any]
    records: Mapping[Cell, QualityRecord]

    @property
    def compared(self) -> list[tuple[QualityRecord, Figures]]:
        """Records that have figures, less the references."""
        cells = [record for record in self.records.values() if not record.cell.is_baseline]
        return [(record, record.figures) for record in cells if record.figures is not None]

    @property
    def references(self) -> dict[str, QualityRecord]:
        """The references' records, by model."""
        return {cell.model: record for cell, record in self.records.items() if cell.is_baseline}

    def reference_figures(self, record: QualityRecord) -> Figures | None:
        """Return the figures of a record's reference, if it has any."""
        reference = self.references.get(record.cell.model)
        return reference.figures if reference is not None else None

    def strategy(self, cell: Cell) -> str:
        """Return a cell's strategy, with device and threads where they vary in this run."""
        cells = [other for other in self.records if not other.is_baseline]
        parts = [cell.strategy]
        if len({other.device for other in cells}) > 1:
            parts.append(cell.device)
        if len({other.threads for other in cells}) > 1:
            parts.append("default threads" if cell.threads is None else f"{cell.threads} threads")
        return ", ".join(parts)


def load_context(folder: Path) -> QualityContext:
    """Return the context of a run.

    Raises:
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / MANIFEST_FILE)
    by_cell = {record.cell: record for record in read_quality_records(folder / RECORDS_FILE)}
    planned = [Cell(**cell) for cell in manifest["cells"]]
    return QualityContext(manifest, {cell: by_cell[cell] for cell in [*planned, *by_cell] if cell in by_cell})


def vector_table(context: QualityContext) -> Table:
    """Return how near the vectors are to the reference's."""
    rows = tuple(
        (
            *_names(context, record),
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
    """Return how well the vectors do what they are for, beside the reference's."""
    rows = []
    for record, figures in context.compared:
        reference = context.reference_figures(record)
        pairs = [
            (_shown(getattr(figures, name)), _shown(getattr(reference, name, None)))
            for name in ("mrr_at_10", "recall_at_10", "sts_spearman")
        ]
        counts = (f"{figures.query_count:,}", f"{figures.sts_pair_count:,}")
        rows.append((*_names(context, record), *(text for pair in pairs for text in pair), *counts))
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


def render(context: QualityContext) -> str:
    """Return the report in Markdown."""
    sections = (
        _headline(context),
        _vectors(context),
        _tasks(context),
        _problems(context),
        _texts(context),
        environment.describe(context.manifest),
        repeat.describe(context.manifest),
        "## Columns\n\n" + "\n".join(f"- **{name}**: {meaning}" for name, meaning in COLUMNS.items()),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def present(folder: Path, *, quiet: bool) -> None:
    """Write ``report.md``, show its tables on the terminal and say where it is.

    Raises:
        RecordError: the folder holds no quality run that this version can read.
    """
    context = load_context(folder)
    report = folder / "report.md"
    report.write_text(render(context), encoding="utf-8")
    show_tables((vector_table(context), task_table(context), problem_table(context)), report, quiet=quiet)


def _headline(context: QualityContext) -> str:
    lines = ["# How good the vectors are"]
    for reference in context.references.values():
        facts = reference.facts
        if facts:
            what = f"plain sentence-transformers {facts['version']}, {facts['precision']} on {facts['device']}"
            lines.append(f"Reference of {escape(reference.cell.model)}: {escape(what)}.")
    if not context.compared:
        lines.append("No cell has a result: see below.")
    return "\n\n".join(lines)


def _vectors(context: QualityContext) -> str:
    table = vector_table(context)
    if not table.rows:
        return ""
    worst = "\n".join(
        f"- {escape(', '.join(_names(context, record)))}: {escape(figures.cosine_min_text or '')}"
        for record, figures in context.compared
    )
    return f"## {table.title}\n\n{to_markdown(table)}\n\nThe text with the lowest cosine:\n\n{worst}"


def _tasks(context: QualityContext) -> str:
    table = task_table(context)
    if not table.rows:
        return ""
    return (
        f"## {table.title}\n\n{to_markdown(table)}\n\n"
        "A column with *ref.* has the figure of plain sentence-transformers on the same texts. What counts is the "
        "difference between the two: the tasks are made to compare, not to say how good a model is."
    )


def _problems(context: QualityContext) -> str:
    table = problem_table(context)
    return f"## {table.title}\n\n{to_markdown(table)}" if table.rows else ""


def _texts(context: QualityContext) -> str:
    task = context.manifest["task"]
    total = task["document_count"] + task["query_count"] + task["odd_text_count"]
    lines = [
        f"## Texts\n\nVectors are compared on {total:,} texts: {task['document_count']:,} functions of Python's "
        "standard library without their docstrings (the documents), the first lines of these docstrings (the queries), "
        f"and {task['odd_text_count']:,} texts made to be difficult: blank, very long, in many scripts, emoji, "
        "numbers, code. For each query, one document is right: the function whose docstring it begins.",
        f"Fingerprint of these texts (SHA-256): `{task['fixed_texts_sha256']}`. Runs with another fingerprint, such as "
        "those of another Python version, have another task, and their figures cannot be compared with these.",
    ]
    if task["sts_pair_count"]:
        lines.append(f"Fingerprint of the {task['sts_pair_count']:,} STS pairs: `{task['sts_sha256']}`.")
    return "\n\n".join(lines)


def _names(context: QualityContext, record: QualityRecord) -> Sequence[str]:
    facts = record.facts
    return (context.strategy(record.cell), str(facts["engine"]), str(facts["precision"]), record.cell.model_key)


def _shown(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
