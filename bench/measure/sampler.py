"""Taking one sample: set up the caches, watch the machine, start a process, wait for its end."""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import passes
from bench.measure.cache.states import Files, arranged
from bench.measure.lock import parent_option
from bench.measure.noise import between, read_state
from bench.measure.prepare import FOR_WORKERS
from bench.measure.process import refused, run_worker
from bench.measure.scenarios import concurrent, empty_program, search_command, service_beside
from bench.measure.variables import thread_variables
from bench.measure.worker import BEAT_S, spin
from bench.plan.cell import EMPTY, WARM, strategy_of
from bench.plan.plan import Slot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.measure.process import Outcome
    from bench.plan.cell import Cell


@dataclass
class Sampler:
    """Takes the samples of a run.

    Attributes:
        environ: every process's environment.
        prepared: by model, what ``bench.measure.prepare`` answered.
        scratch: a folder of the run for temporary files.
        folder: the run's folder, where watched samples put their flame graphs.
        timeout_s: a process that takes longer is killed.
        beat_iterations: iterations of ``bench.measure.worker.spin`` in a beat of the main thread, see
            ``beat_iterations``.
        python: the interpreter of the measured processes.
        evictions: how often files were evicted, by cache state; shared by samplers that evict the same files.
        starts_cold: whether nothing may be in memory yet, as after a reboot, and there is no warm-up round.
    """

    environ: Mapping[str, str]
    prepared: Mapping[str, Mapping[str, Any]]
    scratch: Path
    folder: Path
    timeout_s: float
    beat_iterations: int
    python: str = sys.executable
    evictions: dict[str, int] = field(default_factory=dict)
    starts_cold: bool = False
    _used: dict[Cell, tuple[Path, ...]] = field(default_factory=dict)
    _evictions_seen: dict[Cell, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Treat a cold start like an eviction after which no cell has run."""
        if self.starts_cold:
            self.evictions["cold_disk"] = 1

    def __call__(self, slot: Slot) -> Outcome:
        """Take a sample and return the outcome of its processes."""
        cell = slot.cell
        if impossible := service_beside.refusal(cell) or empty_program.refusal(cell):
            return refused(impossible)
        self._warm_up(cell)
        with arranged(cell.cache_state, self._files(cell), self.scratch) as state:
            if state.unsupported:
                return refused(state.unsupported)
            environ = {**self.environ, **thread_variables(cell.threads), **state.variables}
            with service_beside.beside(cell, self.options(cell), environ, self.python) as service:
                environ = {**environ, **service.variables}
                before = read_state()
                outcome = self._run(slot, environ)
                after = read_state()
                service_cpu_s = service.used_cpu_s()
                outcome = service.told(outcome, environ, self.python)
            unverified = state.problem or state.verify_after()
        self._note_eviction(cell)
        own_cpu_s = None if outcome.cpu_s is None else outcome.cpu_s + service_cpu_s
        noise = between(before, after, own_cpu_s, os.cpu_count() or 1)
        return replace(outcome, noise=noise, state=dict(state.facts), unverified=unverified)

    def _warm_up(self, cell: Cell) -> None:
        """Run the cell once, unrecorded, if other samples evicted what it expects in memory since it last ran."""
        minds = {"cold_disk": (), "cold_weights": ("cold_disk",)}.get(cell.cache_state, ("cold_disk", "cold_weights"))
        seen = self._evictions_seen.get(cell, {})
        if any(self.evictions.get(state, 0) != seen.get(state, 0) for state in minds):
            environ = {**self.environ, **thread_variables(cell.threads)}
            with service_beside.beside(cell, self.options(cell), environ, self.python) as service:
                self._run(Slot(cell, 0, is_warmup=True), {**environ, **service.variables})

    def _note_eviction(self, cell: Cell) -> None:
        if cell.cache_state in {"cold_weights", "cold_disk"}:
            self.evictions[cell.cache_state] = self.evictions.get(cell.cache_state, 0) + 1
        self._evictions_seen[cell] = dict(self.evictions)

    def _run(self, slot: Slot, environ: Mapping[str, str]) -> Outcome:
        cell, options = slot.cell, self.options(slot.cell)
        if slot.instrument == "importtime":
            return passes.import_times(options, environ, self.timeout_s)
        if slot.instrument == "memory":
            return passes.memory(options, environ, self.timeout_s, self.python)
        if slot.instrument == "memray":
            return passes.allocations(slot.cell, options, environ, self.timeout_s, self.scratch, self.folder)
        if cell.subject == EMPTY:
            return empty_program.run(environ, self.timeout_s, self.python)
        if cell.scenario == "search_command":
            database = self.prepared[cell.model].get("database", "")
            return search_command.search(cell, options, database, environ, self.timeout_s, self.python)
        if cell.scenario == "concurrent":
            return concurrent.run_together(cell.processes, options, environ, self.timeout_s, self.python)
        return run_worker(options, environ, self.timeout_s, self.python)

    def options(self, cell: Cell) -> dict[str, str]:
        """Return the worker's options for a cell."""
        return worker_options(cell, self.prepared[cell.model], self.beat_iterations)

    def _files(self, cell: Cell) -> Files:
        """Return the files that a cache state affects."""
        if cell.cache_state == WARM:
            return Files((), ())
        weights = tuple(Path(name) for name in self.prepared[cell.model].get("weights", ()))
        if cell.cache_state == "cold_disk" and cell not in self._used:
            # The files that a process uses are known once one has run; this one is not a sample.
            scout = run_worker(self.options(cell) | {"list_files": "1"}, self.environ, self.timeout_s, self.python)
            self._used[cell] = tuple(Path(name) for name in (scout.answer or {}).get("files", ()))
        return Files(weights, self._used.get(cell, ()))


def worker_options(cell: Cell, prepared: Mapping[str, Any], beat_iterations: int = 0) -> dict[str, str]:
    """Return the worker's options for a cell, all strings.

    Args:
        cell: the cell.
        prepared: the answer of ``bench.measure.prepare`` for its model: the name by which plain sentence-transformers
            finds it, and the folders of files made for peers.
        beat_iterations: see ``Sampler``.
    """
    return {
        "subject": cell.subject,
        "strategy": strategy_of(cell),
        "engine": cell.engine,
        "model": cell.model,
        "reference_model": str(prepared.get("reference_model", cell.model)),
        **{key: str(prepared.get(key, "")) for key in FOR_WORKERS},
        "device": cell.device,
        "scenario": cell.scenario,
        "threads": "" if cell.threads is None else str(cell.threads),
        "think_s": str(cell.think_s),
        "think_kind": cell.think_kind,
        "beat_iterations": str(beat_iterations),
        **parent_option(),
    }


def beat_iterations() -> int:
    """Return how many iterations of ``spin`` take one beat on this machine when nothing disturbs it."""
    probe = 10_000
    seconds = []
    for _ in range(50):
        begun = time.perf_counter()
        spin(probe)
        seconds.append(time.perf_counter() - begun)
    return max(round(probe * BEAT_S / statistics.median(seconds)), 1)
