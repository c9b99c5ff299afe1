"""What runs on a host: ``bench.job`` in a fresh process, which ends when its host does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from bench.process import ROOT, STDERR_TAIL_CHARACTERS, find_answer, kill_group

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bench.job import main; raise SystemExit(main())"
"""``python -m bench.job`` of this version, from any folder, without a variable that measured processes would get."""

GRACE_S = 20.0
"""How long an interrupted job may take to end the process it measures and to remove its files."""


class HostedJob:
    """A process of ``bench.job``.

    It reads from a pipe that this process holds: it ends itself as soon as this process is gone, whatever ends it.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", PROGRAM, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        assert self._child.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):  # then it says why on its standard error
            self._child.stdin.write(json.dumps(dict(request)).encode() + b"\n")
            self._child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for its answer and return it; where it gives none, one that says so."""
        assert self._child.stdout is not None  # noqa: S101 - it is a pipe
        output = self._child.stdout.read()
        code = self._child.wait()
        self._stderr.seek(max(self._stderr.seek(0, os.SEEK_END) - STDERR_TAIL_CHARACTERS, 0))
        tail = self._stderr.read().decode("utf-8", "replace").strip() or "no output"
        return find_answer(output) or {"status": "failed", "message": f"exit code {code} without an answer: {tail}"}

    def end(self) -> None:
        """Let it end itself, or kill it."""
        assert self._child.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            kill_group(self._child)
            self._child.wait()

    def close(self) -> None:
        """End it and close its files."""
        self.end()
        self._stderr.close()
        if self._child.stdout is not None:
            self._child.stdout.close()


def run_job(request: Mapping[str, Any]) -> dict[str, Any]:
    """Have ``bench.job`` do what is requested, and return its answer."""
    with contextlib.closing(HostedJob(request)) as job:
        return job.answer()


class JobHost:
    """A host that keeps nothing of what it measures; one thread runs a job, another may end it."""

    def __init__(self) -> None:
        self._job: HostedJob | None = None

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run a job and return its answer."""
        with contextlib.closing(HostedJob({**request, "temporary": True})) as self._job:
            return self._job.answer()

    def stop(self) -> None:
        """Let the job end itself, if there is one."""
        if self._job is not None:
            self._job.end()
