"""The committed reports, and the runs that each is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.report.gather import gather

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.context import Context

REPORTS = {
    "reference": ("reference/full", "reference/waiting", "reference/concurrent", "reference/quality"),
    "specification": ("specification",),
    "cold": ("cold",),
}
"""By their folders in ``reports``. Their flame graphs are too large to be committed, so nothing links to them."""


@dataclass(frozen=True)
class Reports:
    """The reports of a checkout.

    Attributes:
        root: of the checkout.
    """

    root: Path

    def folder(self, name: str) -> Path:
        """Return the folder of a report."""
        return self.root / "reports" / name

    @cached_property
    def contexts(self) -> dict[str, Context]:
        """What each report is made from."""
        return {
            name: gather([self.folder(run) for run in runs], self.folder(name), flame_graphs=False)
            for name, runs in REPORTS.items()
        }
