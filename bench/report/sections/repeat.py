"""How to measure this again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the section."""
    return describe(context.manifest)


def describe(manifest: Mapping[str, Any]) -> str:
    """Return the section for the manifest of any kind of run."""
    return f"## Repeat this run\n\n```sh\n{manifest['command']}\n```"
