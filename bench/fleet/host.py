"""What runs on a host: ``bench.measure.job`` in a fresh process, which ends when its host does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from bench.measure.process import STDERR_TAIL_CHARACTERS, find_answer, kill_group
from bench.plan.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from bench.programs import run_main
from bench.measure.job import main
run_main(main)
"""
"""``python -m bench.measure.job`` of this version, without variables that measured processes would inherit."""

GRACE_S = 20.0
"""How long an interrupted job may take to end the process it measures and to remove its files."""


class HostedJob:
    """A process of ``bench.measure.job``.

    It reads from a pipe that this process holds, so it ends as soon as this process is gone, for whatever reason.
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
        with contextlib.suppress(BrokenPipeError):  # then its standard error says why
            self._child.stdin.write(json.dumps(dict(request)).encode() + b"\n")
            self._child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for its answer and return it; if there is none, return a failure."""
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
    """Run ``bench.measure.job`` with this request, and return its answer."""
    with contextlib.closing(HostedJob(request)) as job:
        return job.answer()


class JobHost:
    """A host that keeps none of its results; one thread runs a job, another may end it."""

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
