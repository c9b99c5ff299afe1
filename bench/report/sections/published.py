"""Whose the published figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.document import Prose, Section
from bench.report.published import NOTE, is_asked_for

if TYPE_CHECKING:
    from bench.report.context import Context


def render(context: Context) -> Section | None:
    """Return the section; nothing for a run without these figures."""
    return Section("Published figures", (Prose(NOTE),)) if is_asked_for(context.manifest) else None
