"""How to measure this again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Code, Section

if TYPE_CHECKING:
    from bench.data.manifest import Manifest
    from bench.stats.context import Context


def render(context: Context) -> Section:
    """Return the section."""
    return describe(context.manifest)


def describe(manifest: Manifest) -> Section:
    """Return the section for the manifest of any kind of run."""
    return Section("Repeat this run", (Code(manifest.command or ""),))
