"""The report of a quality run, from its records and manifest alone; the same records give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.data.quality import QualityContext, load_quality_context
from bench.report.document import Document, Prose, Section, escape
from bench.report.quality.tables import COLUMNS, lowest_texts, problem_table, task_table, vector_table
from bench.report.sections import environment, repeat
from bench.report.writing import write_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make_document(context: QualityContext) -> Document:
    """Return the report of a single quality run."""
    sections = (
        *quality_sections(context),
        environment.describe(context.manifest),
        repeat.describe(context.manifest),
        columns(),
    )
    return Document("How good the vectors are", _lead(context), sections)


def quality_sections(context: QualityContext) -> Iterator[Section]:
    """Yield the sections specific to quality."""
    vectors, tasks, problems = vector_table(context), task_table(context), problem_table(context)
    if vectors.rows:
        yield Section(vectors.title, (vectors, Prose(lowest_texts(context))))
    if tasks.rows:
        yield Section(tasks.title, (tasks, Prose(TASKS)))
    if problems.rows:
        yield Section(problems.title, (problems,))
    yield _texts(context)


TASKS = (
    "A column with *ref.* has the figure of plain sentence-transformers on the same texts. What counts is the "
    "difference between the two: the tasks compare vectors, they do not rate a model."
)


def columns() -> Section:
    """Return what the columns mean."""
    return Section("Columns", (Prose("\n".join(f"- **{name}**: {meaning}" for name, meaning in COLUMNS.items())),))


def present(folder: Path, *, quiet: bool) -> None:
    """Write the report into the run's folder, show its tables on the terminal and print where it is.

    Raises:
        RecordError: the folder does not hold a quality run that this version can read.
    """
    present_in(folder, folder, quiet=quiet)


def present_in(output: Path, folder: Path, *, quiet: bool) -> None:
    """Do the same with the report in another folder.

    Raises:
        RecordError: the folder does not hold a quality run that this version can read.
    """
    from bench.report.terminal import show_tables

    context = load_quality_context(folder)
    report = write_document(make_document(context), output)
    show_tables((vector_table(context), task_table(context), problem_table(context)), report, quiet=quiet)


def _lead(context: QualityContext) -> tuple[Prose, ...]:
    lines = []
    for reference in context.references.values():
        facts = reference.facts
        if facts:
            what = f"plain sentence-transformers {facts['version']}, {facts['precision']} on {facts['device']}"
            lines.append(f"Reference of {escape(reference.cell.model)}: {escape(what)}.")
    if not context.compared:
        lines.append("No cell has a result; see below.")
    return tuple(map(Prose, lines))


def _texts(context: QualityContext) -> Section:
    task = context.task
    total = task.document_count + task.query_count + task.odd_text_count
    lines = [
        f"Vectors are compared on {total:,} texts: {task.document_count:,} functions of Python's "
        "standard library without their docstrings (the documents), the first lines of these docstrings (the queries), "
        f"and {task.odd_text_count:,} deliberately difficult texts: blank, very long, in many scripts, emoji, "
        "numbers, code. Each query has one right document: the function whose docstring it begins.",
        f"Fingerprint of these texts (SHA-256): `{task.fixed_texts_sha256}`. Runs with another fingerprint, such as "
        "those of another Python version, have a different task, so their figures cannot be compared with these.",
    ]
    if task.sts_pair_count:
        lines.append(f"Fingerprint of the {task.sts_pair_count:,} STS pairs: `{task.sts_sha256}`.")
    return Section("Texts", (Prose("\n\n".join(lines)),))
