"""What a report is made of, in no format yet: Markdown, HTML and the terminal show the same content.

A section is a function from the context to a ``Section``; ``bench.report.markdown`` and ``bench.report.html`` turn
sections into text. Text from outside (names of models, messages) is data in a ``Table``, a ``Link`` or a ``Code``,
which the formats escape by themselves; in ``Prose`` it has to pass ``escape``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&$]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_ESCAPED = re.compile(rf"\\{_MARKUP.pattern}", re.IGNORECASE)
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
class Range:
    """A cell that draws where a figure lies, on a scale that its column shares.

    Attributes:
        text: the same in figures.
        low: where it begins, from 0 to 1.
        high: where it ends.
    """

    text: str
    low: float
    high: float

    def __str__(self) -> str:
        """Return the figures."""
        return self.text

    def drawn(self, columns: int) -> str:
        """Return it as block characters; what is narrower than one still has one."""
        first = min(int(self.low * columns), columns - 1)
        last = max(min(math.ceil(self.high * columns), columns), first + 1)
        return "\u2591" * first + "\u2588" * (last - first) + "\u2591" * (columns - last)


TableCell = str | Link | Range


@dataclass(frozen=True)
class Table:
    """A title, headings and rows of text.

    Attributes:
        title: of the table.
        headings: one for each column.
        rows: texts, links or ranges, as many as headings.
        names: how many columns are names, on the left; the others are figures.
        details: headings of columns that a narrow terminal does without, the first to go first.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
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
    """A picture in ``plots``.

    Attributes:
        name: of its file, without an ending.
        caption: what it shows.
        dark: name of the same picture for dark pages, if there is one. Then both are SVG alone
            (``bench.report.first_screen.bars``); without one it is drawn by Matplotlib, as PNG and SVG, and a dark page
            inverts it.
    """

    name: str
    caption: str
    dark: str = ""

    @property
    def file(self) -> str:
        """The file that Markdown shows."""
        return f"{self.name}.svg" if self.dark else f"{self.name}.png"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its SVG files."""
        return (self.name, self.dark) if self.dark else (self.name,)


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
    """A whole report.

    Attributes:
        title: of the report.
        lead: the first screen.
        sections: all else.
        folded: whether the first screen answers the questions, so that a page opens sections on demand.
    """

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    folded: bool = False

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of all SVG files that it shows."""
        blocks = [*self.lead, *(block for section in self.sections for block in section.blocks)]
        return tuple(name for block in blocks if isinstance(block, Picture) for name in block.names)


def dense(table: Table) -> Table:
    """Return the table without columns that have nothing in them but dashes."""
    kept = [
        index
        for index in range(len(table.headings))
        if index < table.names or any(str(row[index]) != "-" for row in table.rows)
    ]
    headings = tuple(table.headings[index] for index in kept)
    return replace(table, headings=headings, rows=tuple(tuple(row[index] for index in kept) for row in table.rows))


def one_line(text: str) -> str:
    """Return text on one line, with a replacement character for what no file or terminal can show."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return text with a replacement character for each control character and what else cannot be shown."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def escape(text: str) -> str:
    """Return text that CommonMark, and what GitHub makes of it, shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def unescape(markdown: str) -> str:
    """Return prose without markup as plain text: what ``escape`` was given."""
    return _ESCAPED.sub(r"\1", markdown)
