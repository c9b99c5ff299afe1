"""Users' commands, measured as whole processes: for the gate and for pytest-benchmark."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.measure.process import run_command
from bench.plan.cell import COMMAND, Cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.measure.process import Outcome


def split_command(command: str | Sequence[str]) -> list[str]:
    """Return the words of a command, which may be quoted as for a shell; at least one.

    Raises:
        ConfigError: it is empty, or its quotes do not match.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ConfigError(f"The command {command!r} cannot be parsed: {error}. Quote it as for a shell") from error
    if not words:
        raise ConfigError("The command is empty: give at least a program's name")
    return words


def command_cell(words: Sequence[str]) -> Cell:
    """Return the cell of a command."""
    return Cell(COMMAND, shlex.join(words), "", "", "", "", COMMAND, None)


def run_user_command(
    path: str, arguments: Sequence[str], environ: Mapping[str, str], timeout_s: float, folder: Path | None = None
) -> Outcome:
    """Run a program and return its outcome, with an answer like a worker's.

    Raises:
        ConfigError: it cannot be started.
    """
    try:
        outcome = run_command([path, *arguments], environ, timeout_s, folder=folder)
    except OSError as error:
        raise ConfigError(f"{path} cannot be started: {error.strerror}") from error
    if outcome.timed_out:
        return replace(outcome, answer=None)
    if outcome.exit_code != 0:
        return replace(outcome, answer={"status": "failed", "message": f"exit code {outcome.exit_code}"})
    marks_ns = {} if outcome.first_output_ns is None else {"results": outcome.first_output_ns}
    empty: dict[str, Any] = {"memory": {}, "facts": {}, "vectors": []}
    return replace(outcome, answer={"status": "ok", "marks_ns": marks_ns, "cpu_s": outcome.cpu_s, **empty})
