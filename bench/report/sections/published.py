"""Whose the published figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.plan import SPECIFICATION
from bench.report.document import Prose, Section
from bench.report.published import NOTE

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without these figures."""
    return Section("Published figures", (Prose(NOTE),)) if context.manifest.get("suite") == SPECIFICATION else None
