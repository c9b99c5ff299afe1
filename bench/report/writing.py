"""Writing a report: Markdown and HTML, beside the pictures that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import html, markdown

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.document import Document

MARKDOWN_FILE, HTML_FILE, PICTURES = "report.md", "report.html", "plots"


def write_document(document: Document, folder: Path) -> Path:
    """Write the report into a folder, which is made if it is missing; return the path of the Markdown.

    Args:
        document: the report; the SVG files of its pictures are in the folder already, in ``PICTURES``.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = folder / PICTURES
    pictures = {name: (plots / f"{name}.svg").read_text(encoding="utf-8") for name in document.pictures}
    report = folder / MARKDOWN_FILE
    report.write_text(markdown.render(document), encoding="utf-8")
    (folder / HTML_FILE).write_text(html.render(document, pictures), encoding="utf-8")
    return report
