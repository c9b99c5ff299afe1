"""From records to a report. Reads records and manifest, measures nothing; the same records give the same bytes.

Adding a section means adding a module to ``bench.report.sections`` and a line to its tuple; the same for plots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.context import load_context
from bench.report.plots import draw_all
from bench.report.sections import SECTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.context import Context


def render(context: Context) -> str:
    """Return the report in Markdown."""
    parts = [section(context) for section in SECTIONS]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def write_report(folder: Path) -> Context:
    """Write ``report.md`` and ``plots/`` into the folder of a run and return what they were made from.

    Raises:
        RecordError: the folder holds no run that this version can read.
    """
    context = load_context(folder)
    draw_all(context, folder / "plots")
    (folder / "report.md").write_text(render(context), encoding="utf-8")
    return context


def present(folder: Path, *, quiet: bool) -> None:
    """Write the report, show its tables on the terminal and say where it is."""
    from bench.report.terminal import show

    context = write_report(folder)
    show(context, folder / "report.md", quiet=quiet)
