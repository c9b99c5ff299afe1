"""The input of a quality run's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE
from bench.data.manifest import read_manifest
from bench.data.quality_records import QualityFigures, QualityRecord, read_quality_records
from bench.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.data.manifest import Manifest
    from bench.data.manifest_parts import QualityTask
    from bench.plan.cell import Cell

QUALITY_FILE = "quality.jsonl"


@dataclass(frozen=True)
class QualityContext:
    """A quality run, ready to be reported.

    Attributes:
        manifest: how it was measured.
        task: what was compared.
        records: by cell, in the order of the plan.
    """

    manifest: Manifest
    task: QualityTask
    records: Mapping[Cell, QualityRecord]

    @property
    def compared(self) -> list[tuple[QualityRecord, QualityFigures]]:
        """Records with figures, without the references."""
        cells = [record for record in self.records.values() if not record.cell.is_baseline]
        return [(record, record.figures) for record in cells if record.figures is not None]

    @property
    def references(self) -> dict[str, QualityRecord]:
        """The references' records, by model."""
        return {cell.model: record for cell, record in self.records.items() if cell.is_baseline}

    def reference_figures(self, record: QualityRecord) -> QualityFigures | None:
        """Return the figures of a record's reference, if it has any."""
        reference = self.references.get(record.cell.model)
        return reference.figures if reference is not None else None

    def strategy(self, cell: Cell) -> str:
        """Return a cell's strategy, with device and threads if they vary in this run."""
        cells = [other for other in self.records if not other.is_baseline]
        parts = [cell.strategy]
        if len({other.device for other in cells}) > 1:
            parts.append(cell.device)
        if len({other.threads for other in cells}) > 1:
            parts.append("default threads" if cell.threads is None else f"{cell.threads} threads")
        return ", ".join(parts)


def load_quality_context(folder: Path) -> QualityContext:
    """Return the context of a run.

    Raises:
        RecordError: manifest or records cannot be read.
    """
    path = folder / MANIFEST_FILE
    manifest = read_manifest(path)
    lacking = manifest.lacking(["environments", "cells", "task"])
    if manifest.task is None or lacking:
        raise RecordError(
            f"{path} is damaged, or its run is not of suite=quality: it lacks {', '.join(lacking)}. Leave the run out, "
            "or take another copy of it."
        )
    by_cell = {record.cell: record for record in read_quality_records(folder / QUALITY_FILE)}
    records = {cell: by_cell[cell] for cell in [*manifest.cells, *by_cell] if cell in by_cell}
    return QualityContext(manifest, manifest.task, records)
