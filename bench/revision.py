"""Which commit a run measures, if the code that it measures is a git checkout."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.gate.programs import git_environment, run_program
from bench.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = ("bench", "conf", "loader")
"""The folders that decide what is measured and how; a report or a page that changed makes no difference."""

TIMEOUT_S = 10.0
"""Of each of two calls of git, which take milliseconds: a file system that hangs must not keep a run from starting."""

# Nothing that git would start in the background, where it would run while the samples are taken, and no hook.
_OPTIONS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


def describe_revision(folder: Path = ROOT) -> dict[str, Any] | None:
    """Return the commit of the checkout that holds the code; the same names as in the manifest of a gate's arm.

    Args:
        folder: the one that holds ``bench`` and ``loader``.

    Returns:
        ``commit``: its full hash; ``committed_at``: when it was committed, ISO 8601 with time zone; ``subject``: the
        first line of its message; ``dirty``: whether tracked files of ``MEASURED`` differ from it, None if git does
        not tell. None for all of it where there is no git, or where the commit does not hold the code: an environment
        may lie in a checkout of something else.
    """
    # Of what the second name stands for nothing is read: git fails where the commit does not hold it.
    words = ["show", "-s", "--no-show-signature", "--encoding=UTF-8", "--format=%H%n%cI%n%s", "HEAD", "HEAD:./bench"]
    shown = _git(folder, [*words, "--"])
    commit, committed_at, subject = ((shown or "").split("\n", 3) + [""] * 3)[:3]
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        return None
    changes = _git(folder, ["status", "--porcelain", "--untracked-files=no", "--", *MEASURED])
    return {
        "commit": commit,
        "committed_at": committed_at,
        "dirty": None if changes is None else bool(changes.strip()),
        "subject": subject,
    }


def _git(folder: Path, words: list[str]) -> str | None:
    """Return what git says, None if it fails or is not there."""
    program = shutil.which("git")
    if program is None:
        return None
    # Objects that a partial clone lacks are not fetched.
    environ = {**git_environment(os.environ), "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = run_program([program, "-C", str(folder), *_OPTIONS, *words], environ, TIMEOUT_S)
    except (BenchError, OSError):  # it cannot be started, or its output has no place
        return None
    return None if done.failed else done.output
