"""Which commit a run measures, if the measured code is a git checkout."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from bench.data.manifest_parts import RecordedRevision
from bench.errors import BenchError
from bench.measure.tools import git_environment, run_program
from bench.plan.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = ("bench", "conf", "loader")
"""The folders that determine what is measured and how; changes elsewhere, as in reports or docs, do not matter."""

TIMEOUT_S = 10.0
"""Time limit of each of two git calls, which take milliseconds: a hanging file system must not block a run."""

# No hooks, and nothing that git would start in the background, where it would run during the samples.
_OPTIONS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


def describe_revision(folder: Path = ROOT) -> RecordedRevision | None:
    """Return the commit of the checkout that holds the code.

    Args:
        folder: the one that holds ``bench`` and ``loader``.

    Returns:
        the commit; it is dirty if tracked files of ``MEASURED`` differ from it, None if git fails. None instead of
        everything if there is no git, or if the commit does not contain the code: an environment may lie in a
        checkout of something else.
    """
    # The second name only makes git fail if the commit does not contain the code.
    words = ["show", "-s", "--no-show-signature", "--encoding=UTF-8", "--format=%H%n%cI%n%s", "HEAD", "HEAD:./bench"]
    shown = _git(folder, [*words, "--"])
    commit, committed_at, subject = ((shown or "").split("\n", 3) + [""] * 3)[:3]
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        return None
    changes = _git(folder, ["status", "--porcelain", "--untracked-files=no", "--", *MEASURED])
    dirty = None if changes is None else bool(changes.strip())
    return RecordedRevision(commit, committed_at, subject, dirty, rest={"dirty": None} if dirty is None else {})


def _git(folder: Path, words: list[str]) -> str | None:
    """Return git's output, None if it fails or is not installed."""
    program = shutil.which("git")
    if program is None:
        return None
    # Do not fetch objects that a partial clone lacks.
    environ = {**git_environment(os.environ), "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = run_program([program, "-C", str(folder), *_OPTIONS, *words], environ, TIMEOUT_S)
    except (BenchError, OSError):  # it cannot be started, or its output cannot be stored
        return None
    return None if done.failed else done.output
