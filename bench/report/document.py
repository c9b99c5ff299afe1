"""What a report is made of, in no format yet: Markdown, HTML and the terminal show the same content.

A section is a function from the context to a ``Section``; ``bench.report.markdown`` and ``bench.report.html`` turn
sections into text. Text from outside (names of models, messages) is data in a ``Table``, a ``Link`` or a ``Code``,
which the formats escape by themselves; in ``Prose`` it has to pass ``escape``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufffe\uffff]")


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads somewhere.

    Attributes:
        text: what is shown.
        target: a path relative to the report, with ``/``; the formats quote it.
    """

    text: str
    target: str

    def __str__(self) -> str:
        """Return what is shown where nothing can be clicked."""
        return self.text


@dataclass(frozen=True)
class Table:
    """A title, headings and rows of text.

    Attributes:
        title: of the table.
        headings: one for each column.
        rows: texts or links, as many as headings.
        names: how many columns are names, on the left; the others are figures.
        details: headings of columns that a narrow terminal does without, the first to go first.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    names: int = 1
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prose:
    """Paragraphs or lists, in CommonMark; text from outside has passed ``escape``."""

    markdown: str


@dataclass(frozen=True)
class Code:
    """Lines to copy, as they are but for what cannot be shown."""

    text: str
    language: str = "sh"

    @property
    def lines(self) -> list[str]:
        """The lines."""
        return [visible(line.expandtabs().rstrip()) for line in self.text.split("\n")]


@dataclass(frozen=True)
class Picture:
    """A picture of ``bench.report.plots``: its file name without an ending, and its caption."""

    name: str
    caption: str


Block = Prose | Table | Code | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        title: the heading.
        blocks: a table whose title is not the section's gets a heading of its own.
    """

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report: the title, what stands right below it, and the sections."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]


def dense(table: Table) -> Table:
    """Return the table without columns that have nothing in them but dashes."""
    kept = [
        index
        for index in range(len(table.headings))
        if index < table.names or any(str(row[index]) != "-" for row in table.rows)
    ]
    headings = tuple(table.headings[index] for index in kept)
    return replace(table, headings=headings, rows=tuple(tuple(row[index] for index in kept) for row in table.rows))


def clean(text: str) -> str:
    """Return text on one line, with a replacement character for what no file or terminal can show."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return text with a replacement character for each control character and what else cannot be shown."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def escape(text: str) -> str:
    """Return text that CommonMark, and what GitHub makes of it, shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", clean(text))
