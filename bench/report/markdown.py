"""A report in Markdown: CommonMark with the tables of GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.report.document import Code, Link, Picture, Prose, Range, Table, escape, visible

if TYPE_CHECKING:
    from bench.report.document import Block, Document, Section, TableCell

RANGE_COLUMNS = 12
"""Characters that draw a range."""


def render(document: Document) -> str:
    """Return the report."""
    parts = [f"# {escape(document.title)}", *(_block(block) for block in document.lead)]
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def to_markdown(table: Table) -> str:
    """Return a table without its title."""
    aligned = ["---:" if is_figure(table, index) else "---" for index in range(len(table.headings))]
    rows = [[escape(text) for text in table.headings], aligned]
    rows += [[_cell(content) for content in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def is_figure(table: Table, index: int) -> bool:
    """Whether a column is aligned to the right."""
    return index >= table.names and not any(isinstance(row[index], Link | Range) for row in table.rows)


def _section(section: Section) -> list[str]:
    parts = [f"## {escape(section.title)}"]
    for block in section.blocks:
        if isinstance(block, Table) and block.title != section.title:
            parts.append(f"### {escape(block.title)}")
        parts.append(_block(block))
    return parts


def _block(block: Block) -> str:
    match block:
        case Prose(markdown):
            return markdown
        case Table():
            return to_markdown(block)
        case Picture(_, caption):
            return f"![{escape(caption)}](plots/{quote(block.file)})"
        case Code():
            text, fence = "\n".join(block.lines), "```"
            while fence in text:
                fence += "`"
            return f"{fence}{block.language}\n{text}\n{fence}"


def _cell(content: TableCell) -> str:
    if isinstance(content, Link):
        return f"[{escape(content.text)}]({quote(visible(content.target))})"
    if isinstance(content, Range):
        return f"{content.drawn(RANGE_COLUMNS)} {escape(content.text)}"
    return escape(content)
