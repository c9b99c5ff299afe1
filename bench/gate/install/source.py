"""Revisions of a git repository, and checkouts of them that leave no trace in it.

A checkout is a separate clone. ``git worktree`` would be shorter, but registers itself in the user's repository and
stays there after a crash. Hooks never run, neither the user's own nor a template's.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.measure.tools import git_environment, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure.tools import Finished

_OPTIONS = (
    f"core.hooksPath={os.devnull}",
    # A watcher or a clean-up that git starts in the background would outlive the gate, and run while it measures.
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    # CI systems clone shallowly.
    "clone.rejectShallow=false",
)

_REMOTES = r"^remote\..*\.(url|promisor|partialclonefilter)$"
"""What a checkout needs from the repository's remotes: relative addresses of submodules start there, and a partial
clone fetches missing objects from them."""


@dataclass(frozen=True)
class Revision:
    """A commit.

    Attributes:
        asked: how the user named it.
        commit: its full hash.
        subject: the first line of its message.
        committed_at: when it was made, ISO 8601 with time zone; "" if unknown.
    """

    asked: str
    commit: str
    subject: str
    committed_at: str = ""

    @property
    def short(self) -> str:
        """The first ten characters of the hash."""
        return self.commit[:10]


def find_repository(folder: Path, environ: Mapping[str, str]) -> Path:
    """Return the top folder of the working tree that the folder is in.

    Raises:
        BenchError: it is not in one, or git is missing.
    """
    done = _git(folder, ["rev-parse", "--show-toplevel"], environ)
    top = done.output.removesuffix("\n")
    if done.failed or not top:
        raise BenchError(
            f"{folder} is not in the working tree of a git repository; run the gate inside the repository to judge.\n"
            f"{done.words}"
        )
    return Path(top)


def resolve(repository: Path, asked: str, environ: Mapping[str, str]) -> Revision:
    """Return the commit that a branch, tag, hash or expression such as ``HEAD~3`` names.

    Raises:
        BenchError: there is no such commit here.
    """
    commit = _commit(repository, asked, environ)
    if commit is None:
        raise BenchError(_unknown(repository, asked, environ))
    words = ["log", "-1", "--no-show-signature", "--encoding=UTF-8", "--format=%cI%n%s", commit, "--"]
    committed_at, _, subject = _git_output(repository, words, environ, f"Reading commit {commit}").partition("\n")
    return Revision(asked, commit, subject.strip(), committed_at)


def check_out(repository: Path, revision: Revision, target: Path, environ: Mapping[str, str]) -> None:
    """Check the revision out in a new clone, with all tags and with its submodules.

    Args:
        repository: its top folder; nothing is written there.
        revision: what to check out.
        target: the folder of the clone; must not exist or be empty.
        environ: git's environment.

    Raises:
        BenchError: git fails; the message has git's output.
    """
    doing = f"Checking out {revision.asked} ({revision.short}) of {repository}"
    if _is_shallow(repository, environ):
        # Objects of a shallow repository cannot be shared, and a plain clone takes only what branches and tags reach.
        words = ["clone", "--quiet", "--no-checkout", "--origin=origin", "--", str(repository), str(target)]
        _git_output(repository, words, environ, doing)
        words = ["fetch", "--quiet", "--no-tags", "--update-shallow", "origin", revision.commit]
        _git_output(target, words, environ, doing)
    else:
        words = ["clone", "--quiet", "--no-checkout", "--origin=origin", "--shared", "--", str(repository), str(target)]
        _git_output(repository, words, environ, doing)
    _copy_remotes(repository, target, environ)
    _git_output(target, ["checkout", "--quiet", "--detach", revision.commit, "--"], environ, doing)
    _check_complete(target, doing, environ)
    if (target / ".gitmodules").is_file():
        words = ["submodule", "--quiet", "update", "--init", "--recursive"]
        _git_output(target, words, environ, f"{doing}: its submodules")


def has_changes(repository: Path, environ: Mapping[str, str]) -> bool:
    """Whether tracked files differ from the commit that is checked out: no revision has these changes."""
    words = ["status", "--porcelain", "--untracked-files=no"]
    return bool(_git_output(repository, words, environ, f"Looking for changes in {repository}").strip())


def _commit(repository: Path, asked: str, environ: Mapping[str, str]) -> str | None:
    if not asked.strip() or not asked.isprintable():
        return None
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}"]
    done = _git(repository, words, environ)
    commit = done.output.strip()
    # "^main" is accepted too, and resolves to "^" and a hash.
    return commit if not done.failed and re.fullmatch("[0-9a-f]{40,64}", commit) else None


def _unknown(repository: Path, asked: str, environ: Mapping[str, str]) -> str:
    message = f"{repository} has no revision {asked!r}."
    if _commit(repository, f"origin/{asked}", environ) is not None:
        return f"{message} Did you mean {f'origin/{asked}'!r}?"
    if _is_shallow(repository, environ):
        return (
            f"{message} This is a shallow clone, which lacks most of the history. Fetch it: `git fetch --unshallow`, "
            "`fetch-depth: 0` for actions/checkout in GitHub Actions, `GIT_DEPTH: 0` in GitLab."
        )
    return f"{message} `git fetch --all --tags` fetches what the server has; `git log --all` lists what is here."


def _is_shallow(repository: Path, environ: Mapping[str, str]) -> bool:
    words = ["rev-parse", "--is-shallow-repository"]
    return _git_output(repository, words, environ, f"Looking at {repository}").strip() == "true"


def _copy_remotes(repository: Path, target: Path, environ: Mapping[str, str]) -> None:
    listed = _git(repository, ["config", "--local", "--null", "--get-regexp", _REMOTES], environ)
    for entry in filter(None, listed.output.split("\0")):  # exit code 1: none found
        key, _, value = entry.partition("\n")
        _git_output(target, ["config", "--replace-all", "--", key, value], environ, f"Preparing {target}")


def _check_complete(target: Path, doing: str, environ: Mapping[str, str]) -> None:
    # If git cannot get an object, checkout skips its file, prints a message and exits with 0.
    missing = _git_output(target, ["ls-files", "--deleted"], environ, doing).splitlines()
    if missing:
        raise BenchError(
            f"{doing}: the contents of {len(missing)} files ({missing[0]}, ...) are missing and cannot be fetched. "
            "Is it a partial clone? Fetch all of it: git fetch --refetch"
        )


def _git_output(folder: Path, words: Sequence[str], environ: Mapping[str, str], doing: str) -> str:
    done = _git(folder, words, environ)
    if done.failed:
        raise BenchError(f"{doing}: git {words[0]} {done.how}:\n{done.words}")
    return done.output


def _git(folder: Path, words: Sequence[str], environ: Mapping[str, str]) -> Finished:
    program = shutil.which("git", path=environ.get("PATH"))
    if program is None:
        raise BenchError("The gate needs git, which is not on the PATH. Install it: https://git-scm.com")
    options = [word for option in _OPTIONS for word in ("-c", option)]
    return run_program([program, "-C", str(folder), *options, *words], git_environment(environ))
