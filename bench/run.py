"""One run, from configurations to records: plan, prepare, sample. An interrupted one goes on where it ended."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import to_plain
from bench.environment import (
    command_line,
    describe_environment,
    fingerprint,
    passed_variables,
    write_manifest,
)
from bench.errors import ConfigError
from bench.lock import machine_lock
from bench.plan import make_plan
from bench.process import run_python
from bench.progress import announce, make_progress
from bench.records import Record, append_record, read_records
from bench.resume import reopen
from bench.revision import describe_revision
from bench.runner import Runner, Stamp
from bench.sampler import Sampler, beat_iterations
from bench.variables import fixed_variables, worker_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.config import BenchConf
    from bench.plan import Cell, Plan

RECORDS_FILE = "records.jsonl"
MANIFEST_FILE = "manifest.json"
SCRATCH_FOLDER = ".scratch"
"""Below the run's folder: the loader's private cache and whatever else does not outlive the run."""

PREPARE_TIMEOUT_S = 1800.0
"""A first run may download the model."""


@dataclass(frozen=True)
class RunResult:
    """Where a run is, and how it ended.

    Attributes:
        folder: the run's folder.
        interrupted: whether Ctrl-C ended it early.
        missing: labels of cells without any valid sample, not counting what this machine cannot do.
        can_resume: whether it can be continued.
    """

    folder: Path
    interrupted: bool
    missing: tuple[str, ...]
    can_resume: bool = True


def measure(configs: Sequence[BenchConf]) -> RunResult:
    """Measure the cells of all jobs together and leave records and manifest in the run's folder.

    Raises:
        ConfigError: the configurations do not fit together, the folder is taken, or there is nothing to resume.
    """
    first = configs[0]
    quiet = first.quiet
    with machine_lock(first.machine_lock, lambda text: announce(text, quiet=quiet)):
        if first.resume is None:
            plan = make_plan(configs)
            folder = new_folder(Path(first.reports_dir) / first.run_name)
            manifest: dict[str, Any] = {"run": uuid.uuid4().hex, "beat_iterations": beat_iterations()}
            earlier: list[Record] = []
        else:
            folder = Path(first.resume)
            manifest, configs, earlier = reopen(folder, RECORDS_FILE, MANIFEST_FILE)
            plan = make_plan(configs)
            announce(f"resuming {folder}: {len(earlier)} samples are there", quiet=quiet)
        try:
            return _measure(configs, plan, folder, manifest, earlier, quiet=quiet)
        finally:
            shutil.rmtree(folder / SCRATCH_FOLDER, ignore_errors=True)


def _measure(
    configs: Sequence[BenchConf],
    plan: Plan,
    folder: Path,
    manifest: dict[str, Any],
    earlier: Sequence[Record],
    *,
    quiet: bool,
) -> RunResult:
    scratch = (folder / SCRATCH_FOLDER).resolve()
    scratch.mkdir(exist_ok=True)
    environ = worker_environment(scratch / "cache", configs[0].pass_variables)
    environment = describe_environment()
    stamp = Stamp(manifest["run"], fingerprint(environment))
    prepared = prepare_models(plan.cells, environ, scratch, configs[0].static_model, quiet=quiet)
    if "cells" not in manifest:  # not resumed
        manifest |= _describe(configs, plan, prepared) | {"machine": stamp.machine}
        manifest["environments"] = {stamp.machine: environment}
        write_manifest(folder / MANIFEST_FILE, manifest)
    sampler = Sampler(
        environ,
        prepared,
        scratch,
        folder,
        plan.protocol.sample_timeout_s,
        manifest["beat_iterations"],
        starts_cold=bool(earlier),
    )
    records_file = folder / RECORDS_FILE
    records_file.touch()
    interrupted = False
    with make_progress(plan, quiet=quiet) as progress:
        runner = Runner(
            plan,
            sampler,
            lambda record: append_record(records_file, record),
            progress,
            stamp=stamp,
            done=earlier,
            processors=os.cpu_count() or 1,
        )
        try:
            runner.run()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        announce("interrupted: what was measured is kept", quiet=quiet)
    return RunResult(folder, interrupted, _missing(plan, read_records(records_file)))


def new_folder(folder: Path, records: str = "*.jsonl") -> Path:
    """Make the folder of a run and return it.

    Args:
        folder: of the run.
        records: a pattern of the files that it must not have yet.

    Raises:
        ConfigError: it has records already, of whatever kind.
    """
    if any(folder.glob(records)):
        raise ConfigError(
            f"{folder} already holds a run. Name another folder (run_name=), delete it, or continue it with "
            f"resume={folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare_models(
    cells: Sequence[Cell],
    environ: Mapping[str, str],
    scratch: Path,
    static_model: str | None,
    *,
    quiet: bool,
    python: str = sys.executable,
) -> dict[str, dict[str, Any]]:
    """Prepare the model of every cell and return, by model, what ``bench.prepare`` answered."""
    prepared = {}
    for number, model in enumerate(dict.fromkeys(cell.model for cell in cells)):
        announce(f"preparing {model}", quiet=quiet)
        mine = [cell for cell in cells if cell.model == model]
        own = scratch / f"model-{number}"  # not by its key: models that are swept by name have one key in common
        prepared[model] = prepare_model(model, environ, *needs(mine, own, static_model), python=python)
        if any(cell.scenario == "search_command" for cell in mine):
            prepared[model]["database"] = _make_index(prepared[model], environ, own, python)
    return prepared


def needs(cells: Sequence[Cell], scratch: Path, static_model: str | None = None) -> list[str]:
    """Return what is to be prepared for the cells of one model, as words for ``bench.prepare``."""
    subjects = {cell.subject for cell in cells}
    words = {
        "int8" if cell.strategy == "quantized" else "float32"
        for cell in cells
        if (cell.strategy in {"quantized", "cached"} or cell.engine == "onnx") and cell.cache_state != "no_artifact"
    }
    if any(cell.engine == "onnx" for cell in cells):
        words.add("onnx")
    if subjects & {"fastembed", "openvino"}:
        words.add(f"peer={scratch / 'peer'}")
    if "openvino" in subjects:
        words.add("openvino")
    if "model2vec" in subjects:
        words.add(f"static_from={static_model}" if static_model else f"static={scratch / 'static'}")
    return sorted(words)


def prepare_model(model: str, environ: Mapping[str, str], *wanted: str, python: str = sys.executable) -> dict[str, Any]:
    """Find a model's files and prepare what is wanted, see ``bench.prepare``.

    What fails here fails again, with its message, in each sample that needs it.
    """
    # The one process that may download, in the caller's own environment: the workers' forbids it.
    online = {**os.environ, **environ, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}
    outcome = run_python(["-P", "-m", "bench.prepare", model, *wanted], online, PREPARE_TIMEOUT_S, python=python)
    return outcome.answer or {"error": f"preparation ended with exit code {outcome.exit_code}: {outcome.stderr_tail}"}


def _make_index(prepared: Mapping[str, Any], environ: Mapping[str, str], folder: Path, python: str) -> str:
    """Return the database that the scenario ``search_command`` searches, "" if it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "aur.sqlite")
    arguments = ["-P", "-m", "bench.searchindex", str(prepared.get("reference_model", "")), database]
    answer = run_python(arguments, environ, PREPARE_TIMEOUT_S, python=python).answer or {}
    return database if "passages" in answer else ""


def _describe(configs: Sequence[BenchConf], plan: Plan, prepared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "command": command_line(),
        "revision": describe_revision(),
        "suite": configs[0].suite.name,
        "variables": {**fixed_variables(Path("<private>")), **passed_variables(configs[0].pass_variables)},
        "protocol": to_plain(configs[0])["protocol"],
        "precision": plan.precision,
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
