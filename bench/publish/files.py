"""The files of a checkout that show committed records, as they ought to be."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.publish.figures import FIGURES
from bench.publish.markers import fill
from bench.publish.reports import Reports
from bench.report import markdown, shipped
from bench.report.making import make_document
from bench.report.writing import MARKDOWN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHIPPED = "loader/reference.json"
"""What ``python -m loader doctor`` knows of the reference report."""


def generated(reports: Reports) -> Iterator[tuple[Path, str]]:
    """Yield each file and its text: reports, what the loader ships of them, and pages with generated parts.

    Raises:
        ConfigError: a page has a part that is unknown or has no end.
        RecordError: a run cannot be read.
    """
    for name, context in reports.contexts.items():
        yield reports.folder(name) / MARKDOWN_FILE, markdown.render(make_document(context))
    yield reports.root / SHIPPED, shipped.to_text(reports.contexts["reference"])
    yield from filled_pages(reports)


def filled_pages(reports: Reports) -> Iterator[tuple[Path, str]]:
    """Yield README and documentation with their generated parts made anew.

    Raises:
        ConfigError: a page has a part that is unknown or has no end.
    """

    @cache
    def content(name: str) -> str:
        if name not in FIGURES:
            raise ConfigError(f"There is no part {name!r}; there are {', '.join(FIGURES)}")
        return FIGURES[name](reports)

    for page in pages(reports.root):
        yield page, fill(page.read_text(encoding="utf-8"), content)


def pages(root: Path) -> list[Path]:
    """Return the pages that may have generated parts."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
