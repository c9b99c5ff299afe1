"""What the report of a quality run is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environment import read_manifest
from bench.plan import Cell
from bench.quality.records import Figures, QualityRecord, read_quality_records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORDS_FILE = "quality.jsonl"


@dataclass(frozen=True)
class QualityContext:
    """A quality run, ready to be reported.

    Attributes:
        manifest: see ``bench.environment``.
        records: by cell, in the order of the plan.
    """

    manifest: Mapping[str, Any]
    records: Mapping[Cell, QualityRecord]

    @property
    def compared(self) -> list[tuple[QualityRecord, Figures]]:
        """Records that have figures, less the references."""
        cells = [record for record in self.records.values() if not record.cell.is_baseline]
        return [(record, record.figures) for record in cells if record.figures is not None]

    @property
    def references(self) -> dict[str, QualityRecord]:
        """The references' records, by model."""
        return {cell.model: record for cell, record in self.records.items() if cell.is_baseline}

    def reference_figures(self, record: QualityRecord) -> Figures | None:
        """Return the figures of a record's reference, if it has any."""
        reference = self.references.get(record.cell.model)
        return reference.figures if reference is not None else None

    def strategy(self, cell: Cell) -> str:
        """Return a cell's strategy, with device and threads where they vary in this run."""
        cells = [other for other in self.records if not other.is_baseline]
        parts = [cell.strategy]
        if len({other.device for other in cells}) > 1:
            parts.append(cell.device)
        if len({other.threads for other in cells}) > 1:
            parts.append("default threads" if cell.threads is None else f"{cell.threads} threads")
        return ", ".join(parts)


def load_context(folder: Path) -> QualityContext:
    """Return the context of a run.

    Raises:
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / "manifest.json")
    by_cell = {record.cell: record for record in read_quality_records(folder / RECORDS_FILE)}
    planned = [Cell(**cell) for cell in manifest["cells"]]
    return QualityContext(manifest, {cell: by_cell[cell] for cell in [*planned, *by_cell] if cell in by_cell})
