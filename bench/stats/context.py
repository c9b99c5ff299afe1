"""What every section and picture is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from bench.data.runs import REPORTED, read_run
from bench.data.selection import select
from bench.plan.cell import MEANINGS
from bench.stats.summary import summarise
from loader.strategies import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.data.manifest import Manifest
    from bench.data.quality import QualityContext
    from bench.data.records import Record
    from bench.data.runs import Run
    from bench.plan.cell import Cell
    from bench.stats.summary import CellSummary


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
    """A run, or several merged ones, ready to be reported.

    Attributes:
        manifest: how it was measured.
        records: all of them, in the order they were written.
        summaries: by machine; references, peers, then strategies in the order of the documentation, each in the order
            of the plan.
        quality: what a run of suite=quality found, if one is reported together with these.
        flame_graphs: where the flame graphs of a run lie, relative to the report: by the run's identity, and by "" for
            runs without one; a run that is missing has none to link to.
    """

    manifest: Manifest
    records: Sequence[Record]
    summaries: Sequence[CellSummary]
    quality: QualityContext | None = None
    flame_graphs: Mapping[str, str] | None = None

    @cached_property
    def measured(self) -> list[CellSummary]:
        """Summaries of cells that have counted samples."""
        return [summary for summary in self.summaries if summary.spreads]

    @cached_property
    def chosen(self) -> list[Record]:
        """The records that enter the statistics."""
        return select(self.records)

    @cached_property
    def models(self) -> dict[str, str]:
        """What each model is called, by its full name: its key, or the full name where keys are not unique."""
        keys = {summary.cell.model: summary.cell.model_key for summary in self.summaries}
        keys |= {record.cell.model: record.cell.model_key for record in self.records}
        return {name: key if list(keys.values()).count(key) == 1 else name for name, key in keys.items()}

    def in_scenarios(self, *names: str) -> list[CellSummary]:
        """Return the measured cells of these scenarios."""
        return [summary for summary in self.measured if summary.cell.scenario in names]

    def of(self, item: OfCell) -> list[Record]:
        """Return the counted samples of a cell on a machine."""
        return [record for record in self.chosen if (record.cell, record.machine) == (item.cell, item.machine)]

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
            "engine": len({other.engine for other in cells if other.engine}) > 1,
            "device": len({other.device for other in cells}) > 1,
            "scenario_label": with_scenario and len({other.scenario_label for other in cells}) > 1,
            "cache_state": len({other.cache_state for other in cells}) > 1,
            "threads": len({other.threads for other in cells}) > 1,
        }
        shown = {key: str(getattr(cell, key)) for key, is_shown in varied.items() if is_shown}
        if len({other.model for other in cells}) > 1:
            shown["model"] = self.models.get(cell.model, cell.model_key)
        if "threads" in shown:
            shown["threads"] = "default threads" if cell.threads is None else f"{cell.threads} threads"
        order = ("engine", "model", "device", "scenario_label", "cache_state", "threads")
        parts += [shown[key] for key in order if shown.get(key)]
        if len(self.manifest.environments) > 1:
            parts.append(self.machine_name(item.machine))
        return ", ".join(parts)

    def machine_name(self, machine: str) -> str:
        """Return a short name for a machine of this report: machine A, machine B ..."""
        position = list(self.manifest.environments).index(machine)
        return f"machine {chr(ord('A') + position)}" if position < 26 else f"machine {position + 1}"


def load_context(folder: Path, *, needs: Sequence[str] = REPORTED) -> Context:
    """Return the context of the run in a folder; for arguments and errors see ``bench.data.runs.read_run``."""
    return make_context(read_run(folder, needs=needs))


def make_context(
    run: Run,
    *,
    quality: QualityContext | None = None,
    flame_graphs: Mapping[str, str] | None = None,
) -> Context:
    """Return the context of a run; see ``Context`` for the rest."""
    summaries = summarise(run.records, sorted(run.manifest.cells, key=_rank))
    return Context(run.manifest, run.records, summaries, quality, flame_graphs)


def _rank(cell: Cell) -> tuple[bool, bool, int]:
    """Return what sorts references first, then peers, then strategies as they are documented; a sort keeps the rest."""
    known = [*STRATEGIES, *MEANINGS]
    strategy = known.index(cell.strategy) if cell.strategy in known else len(known)
    return not cell.is_baseline, not cell.is_peer, strategy
