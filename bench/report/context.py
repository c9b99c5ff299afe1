"""What every section and plot is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environment import read_manifest
from bench.plan import Cell, cell_from_json
from bench.records import read_records
from bench.stats import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.records import Record
    from bench.stats import CellSummary


@dataclass(frozen=True)
class Context:
    """A run, ready to be reported.

    Attributes:
        manifest: see ``bench.environment``.
        records: all of them, in the order they were written.
        summaries: by cell, in the order of the plan.
    """

    manifest: Mapping[str, Any]
    records: Sequence[Record]
    summaries: Mapping[Cell, CellSummary]

    @property
    def measured(self) -> list[CellSummary]:
        """Summaries of cells that have counted samples."""
        return [summary for summary in self.summaries.values() if summary.spreads]

    def name(self, cell: Cell) -> str:
        """Return what tells a cell from the others of this run, as short as possible."""
        cells = list(self.summaries)
        parts = [cell.strategy]
        varied = {
            "engine": len({other.engine for other in cells if other.engine}) > 1 and cell.engine,
            "model_key": len({other.model for other in cells}) > 1,
            "device": len({other.device for other in cells}) > 1,
            "scenario": len({other.scenario for other in cells}) > 1,
            "threads": len({other.threads for other in cells}) > 1,
        }
        parts += [str(getattr(cell, name)) for name, shown in varied.items() if shown]
        return ", ".join(parts)


def load_context(folder: Path) -> Context:
    """Return the context of a run.

    Raises:
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / "manifest.json")
    records = read_records(folder / "records.jsonl")
    planned = [cell_from_json(cell) for cell in manifest["cells"]]
    return Context(manifest, records, summarise(records, planned))
