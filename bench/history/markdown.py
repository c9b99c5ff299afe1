"""A document in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Code, Picture, Prose, Table, escape

if TYPE_CHECKING:
    from bench.report.document import Block, Document


def to_markdown(document: Document) -> str:
    """Return the whole document; text from outside cannot become markup."""
    parts = [f"# {escape(document.title)}", *map(_block, document.lead)]
    for section in document.sections:
        parts += [f"## {escape(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return block.markdown
    if isinstance(block, Picture):
        return f"![{escape(block.caption)}](plots/{block.name}.svg)"
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    return _table(block)


def _table(table: Table) -> str:
    aligned = tuple("---" if index < table.names else "---:" for index in range(len(table.headings)))
    rows = [tuple(escape(str(text)) for text in row) for row in (table.headings, *table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (rows[0], aligned, *rows[1:]))
