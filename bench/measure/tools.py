"""Running programs of others (git, pip, Python): a separate process group, a time limit, no leaks.

Ctrl-C, or any exception, ends the program and what it started. For a gate, ``bench.gate.install.janitor`` handles what
cannot be handled here: a signal that ends the gate at once, or one that arrives while the program is being started.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError, BuildError
from bench.measure.process import kill_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TIMEOUT_S = 1800.0
"""Limit of one build, installation or checkout: PyTorch on a slow line takes minutes, a hung build takes forever."""

TAIL_LINES = 40
"""How many lines of a failed program's output a message shows: the cause is at the end."""

_GIT_PASSED = (
    "GIT_ALLOW_PROTOCOL",
    "GIT_ASKPASS",
    "GIT_CONFIG_",
    "GIT_EXEC_PATH",
    "GIT_HTTP_",
    "GIT_LFS_",
    "GIT_PROXY_",
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_TRACE",
)
"""Beginnings of git's variables that say how to reach servers; every other one points at the caller's repository (a
gate started by a hook gets GIT_DIR, GIT_INDEX_FILE and more)."""

_PIP_DROPPED = ("PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER")
"""pip's variables that would send packages elsewhere. All others, including the index, are the user's choice."""


@dataclass(frozen=True)
class Finished:
    """A program that has ended.

    Attributes:
        code: its exit code; negative for a signal.
        output: its standard output, and its standard error if they were merged.
        errors: its standard error, "" if they were merged.
        timed_out: whether it was killed for taking too long.
    """

    code: int
    output: str = field(repr=False)
    errors: str = field(repr=False)
    timed_out: bool

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.code != 0 or self.timed_out

    @property
    def how(self) -> str:
        """How it failed, for a message."""
        return "took too long and was killed" if self.timed_out else f"failed (exit code {self.code})"

    @property
    def words(self) -> str:
        """The end of its output about that."""
        return tail(self.errors or self.output)


def run_program(
    command: Sequence[str], environ: Mapping[str, str], timeout_s: float = TIMEOUT_S, *, merged: bool = False
) -> Finished:
    """Run a program without input and wait until it is gone.

    Its output goes to files: a pipe would keep this waiting for a background process that inherited it.

    Args:
        command: the program and its arguments.
        environ: its whole environment.
        timeout_s: after this many seconds it is killed with its process group.
        merged: whether standard error goes into ``output``, in the order in which it was written.

    Raises:
        BenchError: it cannot be started.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(  # noqa: S603 - no shell
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if merged else errors,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise BenchError(f"{command[0]!r} cannot be started: {error}. Is it the right program?") from error
        timed_out = False
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            kill_group(child)
            child.wait()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Finished(child.returncode, texts[0], texts[1], timed_out)


def run_pip(
    doing: str, words: Sequence[str], environ: Mapping[str, str], timeout_s: float, *, python: Path | None = None
) -> None:
    """Run this Python's pip, for another Python if one is given.

    Args:
        doing: what this is about, for a message.
        words: pip's arguments.
        environ: see ``pip_environment``.
        timeout_s: its time limit.
        python: the Python to build or install for; None for this one.

    Raises:
        BuildError: it fails; the message ends with the end of its output.
        BenchError: this Python has no pip.
    """
    if importlib.util.find_spec("pip") is None:
        raise BenchError(
            f"{sys.executable} has no pip, which builds and installs the revisions. "
            f"Install it: {sys.executable} -m ensurepip"
        )
    # -P: a folder named pip where the gate was started is not pip.
    chosen = [] if python is None else ["--python", str(python)]
    command = [sys.executable, "-P", "-m", "pip", *chosen, *words]
    done = run_program(command, pip_environment(environ), timeout_s, merged=True)
    if done.failed:
        raise BuildError(f"{doing} {done.how}. The end of its output:\n{done.words}")


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-lines:])


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for git: no repository of the caller, no prompt, no template, no index refresh."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or (name.startswith(_GIT_PASSED) and name != "GIT_CONFIG_PARAMETERS")
    }
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TEMPLATE_DIR": "", "GIT_TERMINAL_PROMPT": "0"}


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for pip and the builds it runs.

    Without Python's own variables: with PYTHONPATH, pip would treat what lies there as installed; others put bytecode
    elsewhere. With git's variables set as for a checkout: builds ask git for the version.
    """
    kept = {
        name: value
        for name, value in git_environment(environ).items()
        if not name.startswith("PYTHON") and name not in _PIP_DROPPED
    }
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
