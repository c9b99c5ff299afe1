"""What every section and plot is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from bench.environment import read_manifest
from bench.plan import Cell, cell_from_json
from bench.records import read_records
from bench.selection import select
from bench.stats import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.records import Record
    from bench.stats import CellSummary


class OfCell(Protocol):
    """A record or a summary: what belongs to a cell on a machine."""

    @property
    def cell(self) -> Cell:
        """The cell."""

    @property
    def machine(self) -> str:
        """Fingerprint of the machine."""


@dataclass(frozen=True)
class Context:
    """A run, ready to be reported.

    Attributes:
        manifest: see ``bench.environment``.
        records: all of them, in the order they were written.
        summaries: by machine and cell, in the order of the plan.
    """

    manifest: Mapping[str, Any]
    records: Sequence[Record]
    summaries: Sequence[CellSummary]

    @cached_property
    def measured(self) -> list[CellSummary]:
        """Summaries of cells that have counted samples."""
        return [summary for summary in self.summaries if summary.spreads]

    @cached_property
    def chosen(self) -> list[Record]:
        """The records that enter the statistics."""
        return select(self.records)

    def in_scenarios(self, *names: str) -> list[CellSummary]:
        """Return the measured cells of these scenarios."""
        return [summary for summary in self.measured if summary.cell.scenario in names]

    def name(self, item: OfCell, among: Sequence[OfCell] | None = None, *, with_scenario: bool = True) -> str:
        """Return what tells a cell from the others, as short as possible.

        Args:
            item: whose cell.
            among: the others; None for all of the run.
            with_scenario: False where the scenario is told elsewhere, as by a heading.
        """
        cells = [other.cell for other in (self.summaries if among is None else among)]
        cell, parts = item.cell, [item.cell.strategy]
        varied = {
            "engine": len({other.engine for other in cells if other.engine}) > 1 and cell.engine,
            "model_key": len({other.model for other in cells}) > 1,
            "device": len({other.device for other in cells}) > 1,
            "scenario_label": with_scenario and len({other.scenario_label for other in cells}) > 1,
            "cache_state": len({other.cache_state for other in cells}) > 1,
            "threads": len({other.threads for other in cells}) > 1,
        }
        parts += [str(getattr(cell, name)) for name, shown in varied.items() if shown]
        if len(self.manifest["environments"]) > 1:
            parts.append(self.machine_name(item.machine))
        return ", ".join(parts)

    def machine_name(self, machine: str) -> str:
        """Return a short name for a machine of this report: machine A, machine B ..."""
        position = list(self.manifest["environments"]).index(machine)
        return f"machine {chr(ord('A') + position)}" if position < 26 else f"machine {position + 1}"


def load_context(folder: Path) -> Context:
    """Return the context of a run.

    Raises:
        RecordError: manifest or records cannot be read.
    """
    manifest = read_manifest(folder / "manifest.json")
    records = read_records(folder / "records.jsonl")
    planned = [cell_from_json(cell) for cell in manifest["cells"]]
    return Context(manifest, records, summarise(records, planned))
