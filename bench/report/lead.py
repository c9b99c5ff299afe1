"""What stands at the top of a report: the questions that people come with, answered from the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, escape

if TYPE_CHECKING:
    from bench.report.context import Context
    from bench.report.document import Block


def lead(context: Context) -> tuple[Block, ...]:
    """Return it."""
    models = ", ".join(escape(model) for model in sorted(context.models))
    blocks: list[Block] = [Prose(f"Models: {models or 'none'}.")]
    if not context.measured:
        blocks.append(Prose("No cell has a sample that counts: see below."))
    return tuple(blocks)
