"""What runs on a host: ``bench.job`` in a fresh process, which ends when its host does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.process import ROOT, STDERR_TAIL_CHARACTERS, find_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bench.job import main; raise SystemExit(main())"
"""``python -m bench.job`` of this version, from any folder, without a variable that measured processes would get."""

GRACE_S = 20.0
"""How long an interrupted job may take to end the process it measures and to remove its files."""


def run_job(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``bench.job`` and return its answer; where it gave none, one that says so.

    The job reads from a pipe that this process holds: it ends itself as soon as this process is gone, whatever ends it.
    """
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", PROGRAM, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        assert child.stdin is not None  # noqa: S101 - it is a pipe
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        try:
            child.stdin.write(json.dumps(dict(request)).encode() + b"\n")
            child.stdin.flush()
            output = child.stdout.read()
            child.wait()
        finally:
            _end(child)
        stderr.seek(max(stderr.seek(0, os.SEEK_END) - STDERR_TAIL_CHARACTERS, 0))
        tail = stderr.read().decode("utf-8", "replace").strip()
    silent = {"status": "failed", "message": f"exit code {child.returncode} without an answer: {tail or 'no output'}"}
    return find_answer(output) or silent


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the job end itself, or kill it."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()


class JobHost:
    """A host that keeps nothing: what it measures lies in a folder for temporary files until it is answered."""

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run a job and return its answer, see ``run_job``."""
        with tempfile.TemporaryDirectory(prefix="bench-job-", ignore_cleanup_errors=True) as folder:
            return run_job({**request, "folder": str(Path(folder) / "run")})
