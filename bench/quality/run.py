"""One run of ``suite=quality``: make the task, prepare the models, a process for each cell, a record of each."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE, new_folder
from bench.data.manifest import Manifest, write_manifest
from bench.data.quality import QUALITY_FILE
from bench.data.quality_records import QualityFigures, QualityRecord, read_quality_records
from bench.data.records import append_record
from bench.errors import ConfigError
from bench.measure.lock import machine_lock
from bench.measure.machine import command_line, describe_environment
from bench.measure.process import run_python
from bench.measure.run import RunResult, needs, prepare_model
from bench.measure.runner import judge_outcome
from bench.measure.sampler import worker_options
from bench.measure.variables import fixed_variables, temporary_variables, worker_environment
from bench.plan.config import QUALITY, to_plain
from bench.plan.plan import make_plan
from bench.progress import announce, open_display
from bench.quality.task import make_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measure.process import Outcome
    from bench.plan.cell import Cell
    from bench.plan.config import BenchConf
    from bench.progress import Display

REFERENCE_DEVICE = "cpu"
"""Where the reference computes, regardless of the cells' devices: the comparison must not depend on them."""


def measure_quality(configs: Sequence[BenchConf]) -> RunResult:
    """Measure the cells of all jobs and leave records and manifest in the run's folder.

    Raises:
        BenchError: the configurations do not fit together, the folder is taken, or the task cannot be made.
    """
    first = configs[0]
    if first.resume is not None:
        raise ConfigError(f"resume={first.resume} is invalid: a run of suite={QUALITY} cannot be resumed")
    quality = first.quality
    if quality is None:
        raise ConfigError(f"quality.* is missing: add suite={QUALITY}")
    cells = quality_cells(configs)
    task = make_task(quality)
    folder = new_folder(Path(first.reports_dir) / first.run_name)
    records_file = folder / QUALITY_FILE
    interrupted = False
    with (
        machine_lock(first.machine_lock, lambda text: announce(text, quiet=first.quiet)),
        tempfile.TemporaryDirectory(prefix="bench-quality-", ignore_cleanup_errors=True) as name,
    ):
        private = Path(name)
        (private / "task.json").write_text(task.to_json(), encoding="utf-8")
        environ = worker_environment(private / "cache") | temporary_variables(private / "tmp")
        models = list(dict.fromkeys(cell.model for cell in cells))
        prepared = {}
        for model in models:
            announce(f"preparing {model}", quiet=first.quiet)
            mine = [cell for cell in cells if cell.model == model]
            prepared[model] = prepare_model(model, environ, *needs(mine, private / "cache"))
        environment = describe_environment()
        manifest = Manifest(
            command=command_line(),
            machine=environment.fingerprint,
            environments={environment.fingerprint: environment},
            variables=fixed_variables(Path("<private>")),
            jobs=tuple(to_plain(conf) for conf in configs),
            cells=cells,
            models={model: answer.get("origin", answer.get("error")) for model, answer in prepared.items()},
            task=task.facts(),
        )
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
    """Return the cells of all jobs, by model, after one reference for each model.

    Raises:
        ConfigError: the jobs differ in what belongs to the run as a whole.
    """
    # Scenarios differ in when a model is loaded, which does not affect vectors.
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
    """Measure the cells in order, a process for each, and write each record as soon as it exists.

    Args:
        cells: each after the reference of its model.
        unprepared: models that could not be prepared, and why; no process is started for them.
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
        message = f"engine {cell.engine} was requested, but {facts['engine']} answered"
        return replace(base, status="invalid", message=message, facts=facts)
    return replace(base, facts=facts, figures=QualityFigures(**answer["figures"]), stderr_tail="")


def describe(record: QualityRecord) -> str:
    """Return one line about a finished cell."""
    figures = record.figures
    if figures is None:
        return f"{record.cell.label()}  {record.status}: {record.message}"
    compared = "" if figures.cosine_mean is None else f"mean cosine {figures.cosine_mean:.7f}, "
    return f"{record.cell.label()}  {compared}MRR@10 {figures.mrr_at_10:.4f}"
