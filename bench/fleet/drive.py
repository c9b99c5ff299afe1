"""A sweep on many machines, from configurations to a report, whatever the back end."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import QUALITY, from_hydra
from bench.errors import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, BenchError, ConfigError
from bench.fleet.jobs import make_jobs
from bench.merge import merge, replacing
from bench.progress import announce
from bench.records import read_records
from bench.run import MANIFEST_FILE, RECORDS_FILE, new_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from bench.config import BenchConf
    from bench.fleet.jobs import Answer, Backend, Job


@dataclass(frozen=True)
class FleetResult:
    """Where the merged run is, and how it ended.

    Attributes:
        folder: of the merged run.
        interrupted: whether Ctrl-C ended it early.
        failed: for each job that did not end well, what became of it.
        missing: labels of cells without any valid sample, not counting what their machine cannot do.
    """

    folder: Path
    interrupted: bool
    failed: tuple[str, ...]
    missing: tuple[str, ...]


def run(composed: Sequence[DictConfig], backend: Backend) -> int:
    """Measure and report; return the exit code."""
    try:
        configs = [from_hydra(config) for config in composed]
        result = measure(configs, backend)
        # Only now: NumPy, pandas and matplotlib are of no use before.
        from bench.report.making import present

        present(result.folder, quiet=configs[0].quiet)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    for line in result.failed:
        sys.stderr.write(f"{line}\n")
    if result.missing:
        sys.stderr.write(f"no valid sample: {', '.join(result.missing)}\n")
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_MISSING if result.failed or result.missing else EXIT_OK


def measure(configs: Sequence[BenchConf], backend: Backend) -> FleetResult:
    """Have the cells measured by the hosts of a back end, and merge what comes back into the run's folder.

    Raises:
        BenchError: the configurations do not fit together, the folder is taken, there are no hosts, or no job left
            anything.
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
    folders = [job.folder for job in jobs if (job.folder / RECORDS_FILE).is_file()]
    if not folders and interrupted:
        raise KeyboardInterrupt
    if not folders:
        raise BenchError("; ".join(failed))
    merge(folders, folder)
    return FleetResult(folder, interrupted, failed, _missing(jobs, folder))


def _folder(first: BenchConf) -> Path:
    """Return the folder of the whole run, made.

    Raises:
        ConfigError: it is taken, or this kind of run cannot be shared among machines.
    """
    if first.suite.name == QUALITY or first.resume is not None:
        what = f"suite={QUALITY}" if first.resume is None else f"resume={first.resume}"
        raise ConfigError(f"{what} runs on this machine: leave out hydra/launcher=")
    folder = Path(first.reports_dir) / first.run_name
    if any(folder.glob(f"*/{RECORDS_FILE}")):
        raise ConfigError(
            f"{folder} holds jobs of a sweep that was not ended. Give another run_name=, delete it, or combine what is "
            f"there: python -m bench.merge {folder}/* --output DIR"
        )
    return new_folder(folder)


def _store(job: Job, answer: Answer) -> None:
    """Write what came back, unless the job wrote it there itself."""
    if not answer.records or (job.folder / RECORDS_FILE).exists():
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((MANIFEST_FILE, answer.manifest), (RECORDS_FILE, answer.records)):
        with replacing(job.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _is_ok(answer: Answer | None) -> bool:
    return answer is not None and answer.status == "ok"


def _complaint(job: Job, answer: Answer | None) -> str:
    if answer is None:
        return f"job {job.name} was not done: interrupted"
    return f"job {job.name} {answer.status}: {answer.message}"


def _missing(jobs: Sequence[Job], folder: Path) -> tuple[str, ...]:
    records = read_records(folder / RECORDS_FILE)
    fine = {record.cell for record in records if record.counts or record.status == "unsupported"}
    return tuple(cell.label() for job in jobs for cell in job.cells if cell not in fine)
