"""A report, from its runs to its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.progress import announce
from bench.report import gather
from bench.report.document import Document
from bench.report.first_screen.lead import lead
from bench.report.plots import draw_all
from bench.report.sections import SECTIONS
from bench.report.writing import PICTURES, write_document

if TYPE_CHECKING:
    from pathlib import Path

    from bench.stats.context import Context

TITLE = "What the loading strategies cost"


def make_document(context: Context) -> Document:
    """Return the report of a run, or of several."""
    sections = [section(context) for section in SECTIONS]
    return Document(
        TITLE, lead(context).blocks, tuple(section for section in sections if section is not None), folded=True
    )


def write_report(context: Context, folder: Path) -> Path:
    """Write the report with its pictures into a folder and return the path of the Markdown."""
    draw_all(context, folder / PICTURES)
    for name, picture in (lead(context).pictures or {}).items():
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        (folder / PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")
    return write_document(make_document(context), folder)


def present(folder: Path, *, quiet: bool) -> None:
    """Write the report of a run into its folder, show its tables on the terminal and say where it is.

    Raises:
        RecordError: the folder holds no run that this version can read.
    """
    announce("writing the report and its pictures", quiet=quiet)
    context = gather.gather([folder], folder)
    show(context, write_report(context, folder), quiet=quiet)


def show(context: Context, report: Path, *, quiet: bool) -> None:
    """Show the tables of a report on the terminal (not if ``quiet``), and say where it is."""
    from bench.report import terminal

    terminal.show(context, report, quiet=quiet)
