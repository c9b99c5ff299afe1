"""One run, from configurations to a report: plan, prepare, sample, report."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import to_plain
from bench.environment import command_line, describe_environment, write_manifest
from bench.errors import ConfigError
from bench.plan import make_plan
from bench.process import fixed_variables, run_python, run_worker, worker_environment
from bench.progress import announce, make_progress
from bench.records import Record, append_record, read_records
from bench.runner import Runner, worker_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.config import BenchConf
    from bench.plan import Cell, Plan
    from bench.process import Outcome

RECORDS_FILE = "records.jsonl"
MANIFEST_FILE = "manifest.json"
PREPARE_TIMEOUT_S = 1800.0
"""A first run may download the model."""


@dataclass(frozen=True)
class RunResult:
    """Where a run is, and how it ended.

    Attributes:
        folder: the run's folder.
        interrupted: whether Ctrl-C ended it early.
        missing: labels of cells without any valid sample, not counting what this machine cannot do.
    """

    folder: Path
    interrupted: bool
    missing: tuple[str, ...]


def measure(configs: Sequence[BenchConf]) -> RunResult:
    """Measure the cells of all jobs together and leave records and manifest in the run's folder.

    Raises:
        ConfigError: the configurations do not fit together, or the folder is taken.
    """
    plan = make_plan(configs)
    folder = new_folder(Path(configs[0].reports_dir) / configs[0].run_name)
    cache_folder = Path(tempfile.mkdtemp(prefix="bench-loader-cache-"))
    interrupted = False
    try:
        environ = worker_environment(cache_folder)
        prepared = {}
        for model in dict.fromkeys(cell.model for cell in plan.cells):
            announce(f"preparing {model}", quiet=configs[0].quiet)
            cells = [cell for cell in plan.cells if cell.model == model]
            prepared[model] = prepare_model(model, environ, *needs(cells, cache_folder))
        write_manifest(folder / MANIFEST_FILE, _manifest(configs, plan, prepared))

        def execute(cell: Cell) -> Outcome:
            reference = prepared[cell.model].get("reference_model", cell.model)
            options = worker_options(cell, str(reference), prepared[cell.model].get("peer_folder", ""))
            return run_worker(options, environ, plan.protocol.sample_timeout_s)

        records_file = folder / RECORDS_FILE
        records_file.touch()
        with make_progress(plan, quiet=configs[0].quiet) as progress:
            try:
                Runner(plan, execute, lambda record: append_record(records_file, record), progress).run()
            except KeyboardInterrupt:
                interrupted = True
    finally:
        shutil.rmtree(cache_folder, ignore_errors=True)
    return RunResult(folder, interrupted, _missing(plan, read_records(records_file)))


def new_folder(folder: Path) -> Path:
    """Make the folder of a run and return it.

    Raises:
        ConfigError: it has records already, of whatever kind.
    """
    if any(folder.glob("*.jsonl")):
        raise ConfigError(f"{folder} already holds a run. Give another run_name=, or delete it.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def needs(cells: Sequence[Cell], cache_folder: Path) -> list[str]:
    """Return what is to be prepared for the cells of one model, as words for ``bench.prepare``."""
    words = {
        "int8" if cell.strategy == "quantized" else "float32"
        for cell in cells
        if cell.strategy in {"quantized", "cached"} or cell.engine == "onnx"
    }
    if any(cell.engine == "onnx" for cell in cells):
        words.add("onnx")
    if any(cell.subject == "fastembed" for cell in cells):
        words.add(f"peer={cache_folder / 'peers' / cells[0].model_key}")
    return sorted(words)


def prepare_model(model: str, environ: dict[str, str], *wanted: str) -> dict[str, Any]:
    """Find a model's files and prepare what is wanted, see ``bench.prepare``.

    What fails here fails again, with its message, in each sample that needs it.
    """
    # The one process that may download: the fixed environment of the workers forbids it.
    online = {**environ, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}
    outcome = run_python(["-P", "-m", "bench.prepare", model, *wanted], online, PREPARE_TIMEOUT_S)
    return outcome.answer or {"error": f"preparation ended with exit code {outcome.exit_code}: {outcome.stderr_tail}"}


def _manifest(configs: Sequence[BenchConf], plan: Plan, prepared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "command": command_line(),
        "environment": describe_environment(),
        "variables": {**fixed_variables(Path("<private>"))},
        "protocol": to_plain(configs[0])["protocol"],
        "seed": plan.seed,
        "jobs": [to_plain(conf) for conf in configs],
        "cells": [cell.to_json() for cell in plan.cells],
        "preparations": [
            {"model": model, **preparation}
            for model, answer in prepared.items()
            for preparation in answer.get("preparations", [])
        ],
        "models": {model: answer.get("origin", answer.get("error")) for model, answer in prepared.items()},
    }


def _missing(plan: Plan, records: list[Record]) -> tuple[str, ...]:
    fine = {record.cell for record in records if record.counts or record.status == "unsupported"}
    return tuple(cell.label() for cell in plan.cells if cell not in fine)
