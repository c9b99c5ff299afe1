"""One run of ``suite=quality``: make the task, prepare the models, a process for each cell, a record of each."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import QUALITY, to_plain
from bench.environment import command_line, describe_environment, fingerprint, write_manifest
from bench.errors import ConfigError
from bench.lock import machine_lock
from bench.plan import make_plan
from bench.process import run_python
from bench.progress import announce, open_display
from bench.quality.context import RECORDS_FILE
from bench.quality.records import Figures, QualityRecord, read_quality_records
from bench.quality.task import make_task
from bench.records import append_record
from bench.run import MANIFEST_FILE, RunResult, needs, new_folder, prepare_model
from bench.runner import judge_outcome
from bench.sampler import worker_options
from bench.variables import fixed_variables, worker_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.config import BenchConf
    from bench.plan import Cell
    from bench.process import Outcome
    from bench.progress import Display

REFERENCE_DEVICE = "cpu"
"""Where the reference computes, whatever the cells' devices: what is compared must not change with them."""


def measure_quality(configs: Sequence[BenchConf]) -> RunResult:
    """Measure the cells of all jobs and leave records and manifest in the run's folder.

    Raises:
        BenchError: the configurations do not fit together, the folder is taken, or the task cannot be made.
    """
    first = configs[0]
    if first.resume is not None:
        raise ConfigError(f"resume={first.resume} cannot be: a run of suite={QUALITY} is started anew")
    quality = first.quality
    if quality is None:
        raise ConfigError(f"quality.* is missing: give suite={QUALITY}")
    cells = quality_cells(configs)
    task = make_task(quality)
    folder = new_folder(Path(first.reports_dir) / first.run_name)
    records_file = folder / RECORDS_FILE
    interrupted = False
    with (
        machine_lock(first.machine_lock, lambda text: announce(text, quiet=first.quiet)),
        tempfile.TemporaryDirectory(prefix="bench-quality-", ignore_cleanup_errors=True) as name,
    ):
        private = Path(name)
        (private / "task.json").write_text(task.to_json(), encoding="utf-8")
        environ = worker_environment(private / "cache")
        models = list(dict.fromkeys(cell.model for cell in cells))
        prepared = {}
        for model in models:
            announce(f"preparing {model}", quiet=first.quiet)
            mine = [cell for cell in cells if cell.model == model]
            prepared[model] = prepare_model(model, environ, *needs(mine, private / "cache"))
        environment = describe_environment()
        manifest = {
            "command": command_line(),
            "machine": fingerprint(environment),
            "environments": {fingerprint(environment): environment},
            "variables": fixed_variables(Path("<private>")),
            "jobs": [to_plain(conf) for conf in configs],
            "cells": [cell.to_json() for cell in cells],
            "models": {model: answer.get("origin", answer.get("error")) for model, answer in prepared.items()},
            "task": task.facts(),
        }
        write_manifest(folder / MANIFEST_FILE, manifest)

        def execute(cell: Cell) -> Outcome:
            options = {
                **worker_options(cell, prepared[cell.model]),
                "task": str(private / "task.json"),
                "vectors": str(private / f"reference-{models.index(cell.model)}"),
            }
            words = [f"{key}={value}" for key, value in options.items()]
            return run_python(["-P", "-m", "bench.quality.worker", *words], environ, quality.cell_timeout_s)

        records_file.touch()
        unprepared = {model: str(answer["error"]) for model, answer in prepared.items() if "error" in answer}
        with open_display(len(cells), quiet=first.quiet) as display:
            try:
                measure_cells(cells, unprepared, execute, lambda record: append_record(records_file, record), display)
            except KeyboardInterrupt:
                interrupted = True
    done = {record.cell for record in read_quality_records(records_file) if record.status in {"ok", "unsupported"}}
    missing = tuple(cell.label() for cell in cells if cell not in done)
    return RunResult(folder, interrupted, missing, can_resume=False)


def quality_cells(configs: Sequence[BenchConf]) -> tuple[Cell, ...]:
    """Return the cells of all jobs, by model, behind one reference for each model.

    Raises:
        ConfigError: the jobs differ in what belongs to the run as a whole.
    """
    # The scenarios differ in when a model is loaded, which no vector depends on.
    cells = [replace(cell, scenario=QUALITY) for cell in make_plan(configs).cells]
    ordered: list[Cell] = []
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = [cell for cell in cells if cell.model == model]
        reference = next(cell for cell in mine if cell.is_baseline)
        ordered += [replace(reference, device=REFERENCE_DEVICE), *(cell for cell in mine if not cell.is_baseline)]
    return tuple(dict.fromkeys(ordered))


def measure_cells(
    cells: Sequence[Cell],
    unprepared: Mapping[str, str],
    execute: Callable[[Cell], Outcome],
    write: Callable[[QualityRecord], None],
    display: Display,
) -> None:
    """Measure the cells in order, a process for each, and write each record the moment it exists.

    Args:
        cells: each behind the reference of its model.
        unprepared: models that could not be prepared, and why: no process is started for them.
        execute: runs the process of a cell.
        write: stores a record.
        display: is told about the progress.
    """
    references: dict[str, QualityRecord] = {}
    for cell in cells:
        display.begin(cell.label())
        reference = references.get(cell.model)
        if cell.model in unprepared:
            record = QualityRecord(cell, "failed", unprepared[cell.model])
        elif reference is not None and reference.status != "ok":
            record = QualityRecord(cell, "failed", "nothing to compare with: the reference of the model has no result")
        else:
            record = to_record(cell, execute(cell))
        if cell.is_baseline:
            references[cell.model] = record
        write(record)
        display.end(describe(record), is_problem=record.status != "ok")


def to_record(cell: Cell, outcome: Outcome) -> QualityRecord:
    """Return the record of a process that has ended."""
    status, message = judge_outcome(outcome)
    base = QualityRecord(cell, status, message, outcome.started_at, stderr_tail=outcome.stderr_tail)
    answer = outcome.answer
    if status != "ok" or answer is None:
        return base
    facts = answer["facts"]
    if cell.engine not in {"", "auto", facts["engine"]}:
        message = f"engine {cell.engine} was asked for, {facts['engine']} answered"
        return replace(base, status="invalid", message=message, facts=facts)
    return replace(base, facts=facts, figures=Figures(**answer["figures"]), stderr_tail="")


def describe(record: QualityRecord) -> str:
    """Return one line about a finished cell."""
    figures = record.figures
    if figures is None:
        return f"{record.cell.label()}  {record.status}: {record.message}"
    compared = "" if figures.cosine_mean is None else f"mean cosine {figures.cosine_mean:.7f}, "
    return f"{record.cell.label()}  {compared}MRR@10 {figures.mrr_at_10:.4f}"
