"""The committed files of a checkout that show committed records, as they ought to be."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.load import report as load_report
from bench.publish.figures import FIGURES, difference
from bench.publish.markers import fill
from bench.publish.reports import LOAD_TESTS, REPORTS, Reports
from bench.report import markdown, shipped
from bench.report.first_screen.lead import lead
from bench.report.making import make_document
from bench.report.writing import MARKDOWN_FILE, PICTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = "loader/reference.json"
"""What ``python -m loader doctor`` knows of the reference report."""


def generated(reports: Reports) -> Iterator[tuple[Path, str]]:
    """Yield each file and its text: reports, README's picture, what the loader ships, pages with generated parts.

    Raises:
        ConfigError: a page has a part that is unknown or has no end.
        RecordError: a run cannot be read.
    """
    committed = shown_pictures(reports)
    for name, context in reports.contexts.items():
        folder = reports.folder(name)
        yield folder / MARKDOWN_FILE, markdown.render(make_document(context))
        pictures = {**(lead(context).pictures or {}), **(difference(reports) if name == "reference" else {})}
        for picture, text in pictures.items():
            if (file := folder / PICTURES / f"{picture}.svg") in committed:
                yield file, text
    for name in LOAD_TESTS:
        folder = reports.folder(name)
        yield folder / load_report.PAGE, markdown.render(load_report.make_document(folder))
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


_PICTURE = re.compile(r"""(?:\]\(|\b(?:src|srcset)=")(?P<target>[^)"\s]+\.(?:png|svg))[)"]""")


def shown_pictures(reports: Reports) -> set[Path]:
    """Return the pictures that the committed pages show: those are committed, and no others."""
    own = [reports.folder(name) / MARKDOWN_FILE for name in REPORTS]
    own += [reports.folder(name) / load_report.PAGE for name in LOAD_TESTS]
    return {
        Path(os.path.normpath(page.parent / found["target"]))
        for page in (*pages(reports.root), *own)
        if page.exists()
        for found in _PICTURE.finditer(page.read_text(encoding="utf-8"))
    }


def pages(root: Path) -> list[Path]:
    """Return the pages that may have generated parts."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
