"""How to measure this again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    return f"## Repeat this run\n\n```sh\n{context.manifest['command']}\n```"
