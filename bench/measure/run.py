"""One run, from configurations to records: plan, prepare, sample. An interrupted one continues where it stopped."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.fidelity import precision_of
from bench.data.fields import Fields
from bench.data.folder import MANIFEST_FILE, RECORDS_FILE, new_folder
from bench.data.manifest import WRITTEN_EMPTY, Manifest, write_manifest
from bench.data.manifest_parts import Preparation, Protocol
from bench.data.records import append_record, read_records
from bench.measure.lock import machine_lock
from bench.measure.machine import command_line, describe_environment, passed_variables
from bench.measure.process import run_python
from bench.measure.resume import reopen
from bench.measure.revision import describe_revision
from bench.measure.runner import Runner, Stamp
from bench.measure.sampler import Sampler, beat_iterations
from bench.measure.variables import fixed_variables, temporary_variables, worker_environment
from bench.plan.config import to_plain
from bench.plan.plan import make_plan
from bench.progress import announce, make_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.data.environment import Environment
    from bench.data.records import Record
    from bench.measure.resume import Resumed
    from bench.plan.cell import Cell
    from bench.plan.config import BenchConf
    from bench.plan.plan import Plan

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
            plan, resumed = make_plan(configs), None
            folder = new_folder(Path(first.reports_dir) / first.run_name)
            beats = beat_iterations()
        else:
            folder = Path(first.resume)
            resumed = reopen(folder)
            configs, beats = resumed.configs, resumed.beat_iterations
            plan = make_plan(configs)
            announce(f"resuming {folder}: it has {len(resumed.run.records)} samples", quiet=quiet)
        with (
            _scratch(folder) as scratch,
            # Not below the run's folder: programs create sockets there, whose paths must be short.
            tempfile.TemporaryDirectory(prefix="bench-run-", ignore_cleanup_errors=True) as temporary,
        ):
            environ = worker_environment(scratch / "cache", first.pass_variables)
            environ |= temporary_variables(Path(temporary))
            return _measure(configs, plan, folder, scratch, environ, beats, resumed, quiet=quiet)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Provide a folder below the run's for the loader's private cache and other temporary files."""
    from loader.runtime.scratch import (  # late: this process must not import what is measured, which this is not
        Scratch,
        sweep,
    )

    sweep(str(folder))  # what a killed bench left
    scratch = Scratch(str(folder))
    try:
        yield Path(scratch.path).resolve()
    finally:
        scratch.remove()


def _measure(
    configs: Sequence[BenchConf],
    plan: Plan,
    folder: Path,
    scratch: Path,
    environ: Mapping[str, str],
    beats: int,
    resumed: Resumed | None,
    *,
    quiet: bool,
) -> RunResult:
    environment = describe_environment()
    prepared = prepare_models(plan.cells, environ, scratch, configs[0].static_model, quiet=quiet)
    earlier: Sequence[Record] = resumed.run.records if resumed else ()
    stamp = resumed.stamp if resumed else Stamp(uuid.uuid4().hex, environment.fingerprint)
    if resumed is None:
        write_manifest(folder / MANIFEST_FILE, _describe(configs, plan, prepared, stamp, environment, beats))
    sampler = Sampler(
        environ,
        prepared,
        scratch,
        folder,
        plan.protocol.sample_timeout_s,
        beats,
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
        announce("interrupted: the samples so far are kept", quiet=quiet)
    return RunResult(folder, interrupted, _missing(plan, read_records(records_file)))


def prepare_models(
    cells: Sequence[Cell],
    environ: Mapping[str, str],
    scratch: Path,
    static_model: str | None,
    *,
    quiet: bool,
    python: str = sys.executable,
) -> dict[str, dict[str, Any]]:
    """Prepare the model of every cell and return, by model, what ``bench.measure.prepare`` answered."""
    prepared = {}
    for number, model in enumerate(dict.fromkeys(cell.model for cell in cells)):
        announce(f"preparing {model}", quiet=quiet)
        mine = [cell for cell in cells if cell.model == model]
        own = scratch / f"model-{number}"  # not by its key, which models swept by name share
        prepared[model] = prepare_model(model, environ, *needs(mine, own, static_model), python=python)
        if any(cell.scenario == "search_command" for cell in mine):
            prepared[model]["database"] = _make_index(prepared[model], environ, own, python)
    return prepared


def needs(cells: Sequence[Cell], scratch: Path, static_model: str | None = None) -> list[str]:
    """Return what to prepare for the cells of one model, as words for ``bench.measure.prepare``."""
    subjects = {cell.subject for cell in cells}
    words = {
        precision_of(cell.strategy)
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
    """Find a model's files and prepare what is requested, see ``bench.measure.prepare``.

    A failure here occurs again, with its message, in each sample that needs the result.
    """
    # The only process that may download, so it has the caller's environment: the workers' environment forbids it.
    online = {**os.environ, **environ, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0")}
    outcome = run_python(
        ["-P", "-m", "bench.measure.prepare", model, *wanted], online, PREPARE_TIMEOUT_S, python=python
    )
    return outcome.answer or {"error": f"preparation failed with exit code {outcome.exit_code}: {outcome.stderr_tail}"}


def _make_index(prepared: Mapping[str, Any], environ: Mapping[str, str], folder: Path, python: str) -> str:
    """Return the database that the scenario ``search_command`` searches, "" if it cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "aur.sqlite")
    arguments = ["-P", "-m", "bench.quality.search_index", str(prepared.get("reference_model", "")), database]
    answer = run_python(arguments, environ, PREPARE_TIMEOUT_S, python=python).answer or {}
    return database if "passages" in answer else ""


def _describe(
    configs: Sequence[BenchConf],
    plan: Plan,
    prepared: Mapping[str, Mapping[str, Any]],
    stamp: Stamp,
    environment: Environment,
    beats: int,
) -> Manifest:
    jobs = [to_plain(conf) for conf in configs]
    return Manifest(
        run=stamp.run,
        machine=stamp.machine,
        environments={stamp.machine: environment},
        command=command_line(),
        revision=describe_revision(),
        suite=configs[0].suite.name,
        variables={**fixed_variables(Path("<private>")), **passed_variables(configs[0].pass_variables)},
        protocol=Protocol.from_fields(Fields(jobs[0]["protocol"], "protocol")),
        precision=plan.precision,
        seed=plan.seed,
        jobs=tuple(jobs),
        cells=plan.cells,
        preparations=tuple(
            Preparation.from_fields(Fields({"model": model, **preparation}, "preparation"))
            for model, answer in prepared.items()
            for preparation in answer.get("preparations", [])
        ),
        models={model: answer.get("origin", answer.get("error")) for model, answer in prepared.items()},
        beat_iterations=beats,
        rest=WRITTEN_EMPTY,
    )


def _missing(plan: Plan, records: list[Record]) -> tuple[str, ...]:
    fine = {record.cell for record in records if record.counts or record.status == "unsupported"}
    return tuple(cell.label() for cell in plan.cells if cell not in fine)
