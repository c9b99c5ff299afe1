"""A gate's output: a line and tables on the terminal, and files for people, programs and CI systems.

The same verdict gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gate.outputs import junit, markdown, plot, structured
from bench.gate.outputs.terminal import show
from bench.report.saving import save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.gate.decide.verdict import Verdict

__all__ = ["show", "write_outputs"]

DOCUMENTS: tuple[tuple[str, Callable[[Verdict], str]], ...] = (
    ("verdict.md", markdown.render),
    ("verdict.json", structured.render),
    ("junit.xml", junit.render),
)


def write_outputs(verdict: Verdict, folder: Path) -> None:
    """Write the documents, and ``shifts.png`` and ``shifts.svg``, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, render in DOCUMENTS:
        # A lone surrogate, as from a command that is not UTF-8, cannot be encoded.
        (folder / name).write_bytes(render(verdict).encode(errors="replace"))
    save(plot.draw(verdict), folder, "shifts")
