"""Writing a report: Markdown, HTML and pictures, side by side in one folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import markdown
from bench.report.saving import save

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.figure import Figure

    from bench.report.document import Document

MARKDOWN_FILE = "report.md"


def write_document(document: Document, figures: Iterable[tuple[str, Figure]], folder: Path) -> Path:
    """Write the report and its pictures into a folder, which is made if it is missing; return the Markdown's path.

    Args:
        document: the report.
        figures: its pictures, by name; drawn one after the other.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures:
        (folder / "plots").mkdir(exist_ok=True)
        save(figure, folder / "plots", name)
    report = folder / MARKDOWN_FILE
    report.write_text(markdown.render(document), encoding="utf-8")
    return report
