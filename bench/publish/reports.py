"""What is committed below ``reports``: runs, and the reports that are made from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.data.folder import RECORDS_FILE
from bench.report.gather import gather, is_quality

if TYPE_CHECKING:
    from pathlib import Path

    from bench.stats.context import Context

REPORTS = {
    "reference": ("reference/full", "reference/waiting", "reference/concurrent", "reference/quality"),
    "specification": ("specification",),
    "cold": ("cold",),
    "cuda": ("cuda",),
    "avx2": ("avx2/full", "avx2/waiting", "avx2/concurrent", "avx2/quality"),
}
"""Reports and their runs, by their folders. Flame graphs are too large to be committed, so nothing links to them."""

LOAD_TESTS = ("reference/service/load",)
"""Runs of ``bench.load``, each with its page in its own folder."""

STUDY = "study"
SIMULATIONS = ("default", "busy", "all-threads", "native")
"""The studies of the gate that one picture shows, and their folder."""

BASELINE_RUN = "baseline/head"
"""A run that is only compared with."""


@dataclass(frozen=True)
class Reports:
    """The reports of a checkout.

    Attributes:
        root: of the checkout.
    """

    root: Path

    def folder(self, name: str) -> Path:
        """Return the folder of a report, or of a run."""
        return self.root / "reports" / name

    @property
    def records(self) -> list[Path]:
        """The files of records of all timed runs; they are committed compressed."""
        runs = [run for parts in REPORTS.values() for run in parts]
        folders = [self.folder(run) for run in (*runs, BASELINE_RUN)]
        return [folder / RECORDS_FILE for folder in folders if not is_quality(folder)]

    @cached_property
    def contexts(self) -> dict[str, Context]:
        """What each report is made from."""
        return {
            name: gather([self.folder(run) for run in runs], self.folder(name), flame_graphs=False)
            for name, runs in REPORTS.items()
        }
