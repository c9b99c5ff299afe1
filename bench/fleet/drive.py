"""A sweep on many machines, from configurations to a report, whatever the back end."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.folder import MANIFEST_FILE, RECORDS_FILE, has_records, new_folder
from bench.data.merging import merge, replacing
from bench.data.records import read_records
from bench.errors import EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, BenchError, ConfigError
from bench.fleet.jobs import make_jobs
from bench.plan.config import QUALITY, from_hydra
from bench.programs import exit_code_of
from bench.progress import announce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bench.fleet.jobs import Answer, Backend, Job
    from bench.plan.config import BenchConf


@dataclass(frozen=True)
class FleetResult:
    """Where the merged run is, and how it ended.

    Attributes:
        folder: the merged run's folder.
        interrupted: whether Ctrl-C ended it early.
        failed: for each job that failed, what happened.
        missing: labels of cells without any valid sample, not counting what their machine cannot do.
    """

    folder: Path
    interrupted: bool
    failed: tuple[str, ...]
    missing: tuple[str, ...]


def run(composed: Sequence[DictConfig], backend: Backend) -> int:
    """Measure and report; return the exit code. No error leaves this function: Hydra would end with 1."""
    return exit_code_of(lambda: _run(composed, backend))


def _run(composed: Sequence[DictConfig], backend: Backend) -> int:
    configs = [from_hydra(config) for config in composed]
    result = measure(configs, backend)
    # Imported only now: NumPy, pandas and matplotlib are not needed before.
    from bench.report.making import present

    present(result.folder, quiet=configs[0].quiet)
    for line in result.failed:
        sys.stderr.write(f"{line}\n")
    if result.missing:
        sys.stderr.write(f"no valid sample: {', '.join(result.missing)}\n")
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_MISSING if result.failed or result.missing else EXIT_OK


def measure(configs: Sequence[BenchConf], backend: Backend) -> FleetResult:
    """Have a back end's hosts measure the cells, and merge the results into the run's folder.

    Raises:
        BenchError: the configurations do not fit together, the folder is taken, there are no hosts, or no job
            returned anything.
        KeyboardInterrupt: Ctrl-C came before any job was done.
    """
    jobs = make_jobs(configs)
    folder = _folder(configs[0])
    say = functools.partial(announce, quiet=configs[0].quiet)
    answers: dict[str, Answer] = {}
    interrupted = False
    try:
        for job, answer in backend.run(jobs, folder, say):
            answers[job.name] = answer
            _store(job, answer)
            say(f"[{len(answers)}/{len(jobs)}] {job.name}  {answer.status}")
    except KeyboardInterrupt:
        interrupted = True
    failed = tuple(_complaint(job, answers.get(job.name)) for job in jobs if not _is_ok(answers.get(job.name)))
    folders = [job.folder for job in jobs if has_records(job.folder)]
    if not folders and interrupted:
        raise KeyboardInterrupt
    if not folders:
        raise BenchError("; ".join(failed))
    merge(folders, folder)
    return FleetResult(folder, interrupted, failed, _missing(jobs, folder))


def _folder(first: BenchConf) -> Path:
    """Create the folder of the whole run and return it.

    Raises:
        ConfigError: it is taken, or this kind of run cannot be shared among machines.
    """
    if first.suite.name == QUALITY or first.resume is not None:
        what = f"suite={QUALITY}" if first.resume is None else f"resume={first.resume}"
        raise ConfigError(f"{what} runs on this machine: leave out hydra/launcher=")
    folder = Path(first.reports_dir) / first.run_name
    if any(has_records(below) for below in folder.glob("*")):
        raise ConfigError(
            f"{folder} holds jobs of an unfinished sweep. Choose another run_name=, delete the folder, or merge its "
            f"jobs: python -m bench.merge {folder}/* --output DIR"
        )
    return new_folder(folder)


def _store(job: Job, answer: Answer) -> None:
    """Write the job's results, unless the job wrote them there itself."""
    if not answer.records or has_records(job.folder):
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((MANIFEST_FILE, answer.manifest), (RECORDS_FILE, answer.records)):
        with replacing(job.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _is_ok(answer: Answer | None) -> bool:
    return answer is not None and answer.status == "ok"


def _complaint(job: Job, answer: Answer | None) -> str:
    if answer is None:
        return f"job {job.name} did not run: interrupted"
    return f"job {job.name} {answer.status}: {answer.message}"


def _missing(jobs: Sequence[Job], folder: Path) -> tuple[str, ...]:
    records = read_records(folder / RECORDS_FILE)
    fine = {record.cell for record in records if record.counts or record.status == "unsupported"}
    return tuple(cell.label() for job in jobs for cell in job.cells if cell not in fine)
