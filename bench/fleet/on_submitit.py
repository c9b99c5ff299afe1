"""Jobs of a SLURM cluster, or processes of this machine, by submitit."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.fleet.host import run_job
from bench.fleet.jobs import Answer, to_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.fleet.jobs import Job

SCRATCH_FOLDER = "submitit"
"""Prefix of the folder, below that of the whole run, for submitit's own files and the logs of the jobs."""

POLL_S = 1.0
MESSAGE_CHARACTERS = 400


@dataclass(frozen=True)
class SubmititBackend:
    """Jobs of a SLURM cluster, or processes of this machine.

    Attributes:
        cluster: ``"slurm"``, ``"local"``, or None to detect it.
        parameters: what ``submitit.AutoExecutor.update_parameters`` takes.
    """

    cluster: str | None
    parameters: Mapping[str, Any]

    def run(self, jobs: Sequence[Job], folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Job, Answer]]:
        """Yield each job with its answer, in the order in which they end; see ``bench.fleet.jobs.Backend``.

        The jobs write into the run's folder, which all machines of such a cluster share. Their logs are kept only if a
        job failed.
        """
        # A name that does not exist yet, because the folder is removed at the end.
        scratch = folder / f"{SCRATCH_FOLDER}-{uuid.uuid4().hex[:8]}"
        pending = self._submit(jobs, scratch)
        say(f"{len(jobs)} jobs submitted, their logs are in {scratch}")
        all_well = True
        try:
            while pending:
                for job, handle in [(job, handle) for job, handle in pending if handle.done()]:
                    pending.remove((job, handle))
                    answer = _answer(handle)
                    all_well = all_well and answer.status == "ok"
                    yield job, answer
                if pending:
                    time.sleep(POLL_S)  # submitit asks SLURM less often than that
        finally:
            for _, handle in pending:
                handle.cancel(check=False)
        if all_well:
            shutil.rmtree(scratch, ignore_errors=True)

    def _submit(self, jobs: Sequence[Job], scratch: Path) -> list[tuple[Job, Any]]:
        """Return each job with its submitit handle.

        Raises:
            BenchError: submitit is not installed, or refuses.
        """
        try:
            import submitit
            from submitit.core.utils import FailedSubmissionError
        except ModuleNotFoundError as error:
            raise BenchError(
                f"hydra/launcher=submitit needs {error.name}, which is not installed. "
                "Install it with: python -m pip install 'optimized-embedding-loader[fleet]'"
            ) from None
        try:
            executor = submitit.AutoExecutor(scratch, cluster=self.cluster)
            executor.update_parameters(name="embedding-bench", **self.parameters)
            with executor.batch():
                handles = [executor.submit(run_job, job.request()) for job in jobs]
        except (FailedSubmissionError, RuntimeError, ValueError, NameError, AssertionError) as error:
            raise BenchError(f"submitit cannot start the jobs: {error}") from error
        return list(zip(jobs, handles, strict=True))


def _answer(handle: Any) -> Answer:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return to_answer(handle.result())
    except (FailedJobError, UncompletedJobError) as error:
        return Answer("failed", " ".join(str(error).split())[-MESSAGE_CHARACTERS:])
