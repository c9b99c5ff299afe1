"""A document as one page: its parts as the template shows them, and the policy that lets nothing else in."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.document import Link, Picture, Prose, Range, Table
from bench.report.html.characters import Anchors, allowed
from bench.report.html.links import quoted
from bench.report.html.order import order
from bench.report.html.picture import source
from bench.report.html.prose import to_html

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.report.document import Block, Document, TableCell
    from bench.report.html.picture import Source

_FOLDER = Path(__file__).parent
NARROWEST = 0.03
"""A range that would be narrower, as a share of its column, could not be seen."""

_LONG = 40
"""A column with a text of more characters keeps some width on a narrow screen, instead of a word on each line."""


@dataclass(frozen=True)
class _Column:
    heading: str
    kind: str  # "name", "figure", "text", "long" or "range": a class of the style
    sortable: bool


@dataclass(frozen=True)
class _Cell:
    text: str
    href: str
    kind: str
    rank: int | None
    span: tuple[float, float] | None = None  # where a range begins, and how long it is, in hundredths


@dataclass(frozen=True)
class _Part:
    """A block, ready to be shown: ``kind`` says which of the others count."""

    kind: str
    anchor: str = ""
    label: str = ""
    text: str | Markup = ""
    source: Source | None = None
    dark: Source | None = None
    columns: tuple[_Column, ...] = ()
    rows: tuple[tuple[_Cell, ...], ...] = ()


@dataclass(frozen=True)
class _Section:
    title: str
    anchor: str
    parts: tuple[_Part, ...]


def render(document: Document, pictures: Mapping[str, str]) -> str:
    """Return the document as an HTML page.

    Args:
        document: its text may hold anything, lone surrogates too; what HTML forbids becomes U+FFFD.
        pictures: the SVG of each ``Picture``, by its name.

    Raises:
        KeyError: a picture of the document is not among them.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (Markup((_FOLDER / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))  # noqa: S704 - ours
    anchors = Anchors("content", "title")
    title = _title(document.title)
    lead = tuple(_part(block, title, "title", anchors, pictures) for block in document.lead)
    page = environment.get_template("page.html").render(
        title=title,
        lead=lead,
        sections=list(_sections(document, anchors, pictures)),
        folded=document.folded,
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    return allowed(page)


def _sections(document: Document, anchors: Anchors, pictures: Mapping[str, str]) -> Iterable[_Section]:
    for section in document.sections:
        title = _title(section.title)
        anchor = anchors.name(title)
        parts = tuple(_part(block, title, anchor, anchors, pictures) for block in section.blocks)
        yield _Section(title, anchor, parts)


def _part(block: Block, title: str, anchor: str, anchors: Anchors, pictures: Mapping[str, str]) -> _Part:
    """Return a block as the template shows it, below the heading with that title and anchor."""
    if isinstance(block, Prose):
        return _Part("prose", text=to_html(block.markdown))
    if isinstance(block, Picture):
        dark = source(pictures[block.dark]) if block.dark else None
        return _Part("picture", text=block.caption, source=source(pictures[block.name]), dark=dark)
    if not isinstance(block, Table):
        return _Part("code", text="\n".join(block.lines))
    own = block.title.strip()
    if own in ("", title):
        return _table(block, label=anchor)
    return _table(block, label=(name := anchors.name(own)), anchor=name)


def _table(table: Table, *, label: str, anchor: str = "") -> _Part:
    """Return a table; without an anchor it has no heading of its own."""
    columns, cells = [], []
    for index, heading in enumerate(table.headings):
        column = [row[index] for row in table.rows]
        name, longest = index < table.names, max((len(str(cell)) for cell in column), default=0)
        sorting = order([str(cell) for cell in column], name=name)
        drawn = any(isinstance(cell, Range) for cell in column)
        kind = (
            "range"
            if drawn
            else "figure"
            if sorting.numeric
            else "long"
            if index and longest > _LONG
            else "name"
            if name
            else "text"
        )
        columns.append(_Column(heading, kind, sortable=len({*sorting.ranks}) > 1))
        cells.append([_cell(cell, kind, rank) for cell, rank in zip(column, sorting.ranks, strict=True)])
    rows = tuple(zip(*cells, strict=True))
    return _Part("table", anchor, label, table.title, columns=tuple(columns), rows=rows)


def _cell(cell: TableCell, kind: str, rank: int | None) -> _Cell:
    if isinstance(cell, Range):
        low = 100 * min(max(cell.low, 0.0), 1.0 - NARROWEST)
        length = 100 * min(max(cell.high - cell.low, NARROWEST), 1.0)
        return _Cell(cell.text, "", kind, rank, (round(low, 1), round(min(length, 100 - low), 1)))
    return _Cell(str(cell), quoted(cell.target) if isinstance(cell, Link) else "", kind, rank)


def _title(text: str) -> str:
    """Return a title that is not empty: a page without one is none."""
    return text.strip() or "Untitled"


def _policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy: this style, this script and pictures inside the page, nothing else."""
    allowed_style, allowed_script = (
        f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (style, script)
    )
    return (
        f"default-src 'none'; style-src {allowed_style}; script-src {allowed_script}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
