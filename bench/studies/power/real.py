"""Real gates, one after another, in a clone of the repository: some judge an unchanged head, some a slower one.

Everything is as for a user: ``python -m bench.gate`` in a separate process, two commits that are built and installed
separately. A slower head sleeps while ``loader`` is imported, for a share of the Total that the first gate measured.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import EXIT_HARNESS, EXIT_INTERRUPTED, BenchError
from bench.gate.decide.rules import BASE
from bench.gate.install.source import check_out, find_repository, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_AUTHOR = ("-c", "user.name=study", "-c", "user.email=study@localhost", "-c", "commit.gpgsign=false")

_KEPT = ("result", "headline", "stages", "samples", "disturbed_samples", "prepared_s", "measured_s", "decisions")
"""The parts of a verdict to keep: the rest names temporary commits and folders, or is the same for all."""


@dataclass(frozen=True)
class RealGate:
    """How a gate ended.

    Attributes:
        effect: by how much the head was made slower; 0 for a change that does nothing.
        exit_code: the gate's exit code.
        result: its verdict.
        verdict: the whole verdict, see ``verdict.json``.
    """

    effect: float
    exit_code: int
    result: str
    verdict: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what a reader of the study needs from it."""
        return {"effect": self.effect, "exit_code": self.exit_code} | {key: self.verdict[key] for key in _KEPT}


def run_gates(
    repository: Path,
    revision: str,
    folder: Path,
    *,
    effects: Sequence[float],
    options: Sequence[str],
    say: Callable[[str], None],
) -> list[RealGate]:
    """Run a gate for each effect.

    Args:
        repository: the revision's repository.
        revision: the revision to measure and to slow down.
        folder: for a clone and the gates' folders; must not exist.
        effects: by how much the head is slower in each gate; the first must be 0, because its figure is the base of
            the shares.
        options: more options for ``bench.gate``.
        say: is told how each gate ended.

    Raises:
        BenchError: a gate failed to run.
    """
    folder.mkdir(parents=True)
    environ = dict(os.environ)
    code = folder / "code"
    top = find_repository(repository.absolute(), environ)
    check_out(top, resolve(top, revision, environ), code, environ)
    base = _git(code, "rev-parse", "HEAD")
    gates: list[RealGate] = []
    total_s = 0.0
    for number, effect in enumerate(effects):
        _git(code, "checkout", "--quiet", "--detach", base)
        if effect:
            _slow_down(code / "loader" / "__init__.py", effect * total_s)
        # A change that does nothing is a commit too: it is built and installed like any other.
        words = ("commit", "--quiet", "--all", "--allow-empty", "--no-verify", f"--message=effect {effect}, {number}")
        _git(code, *_AUTHOR, *words)
        gates.append(_gate(code, base, folder / f"gate-{number:02d}", effect, options))
        total_s = total_s or _total_s(gates[0].verdict)
        say(f"gate {number + 1} of {len(effects)}: head slower by {effect:.0%}: {gates[-1].result}")
    return gates


def _gate(code: Path, base: str, output: Path, effect: float, options: Sequence[str]) -> RealGate:
    words = ["--repository", str(code), "--base", base, "--head", "HEAD", "--output", str(output), "--quiet", *options]
    done = subprocess.run([sys.executable, "-m", "bench.gate", *words], check=False)  # noqa: S603 - our own module
    if done.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode == EXIT_HARNESS:
        raise BenchError(f"the gate in {output} failed to run; see its message above")
    verdict = json.loads((output / "verdict.json").read_text(encoding="utf-8"))
    return RealGate(effect, done.returncode, verdict["result"], verdict)


def _slow_down(file: Path, seconds: float) -> None:
    """Make an import sleep."""
    source = file.read_text(encoding="utf-8")
    line = f"import time as _time\n\n_time.sleep({seconds:.4f})\n"
    future = re.search(r"^from __future__ import .*\n", source, re.MULTILINE)
    at = future.end() if future else _end_of_docstring(source)
    file.write_text(source[:at] + line + source[at:], encoding="utf-8")


def _end_of_docstring(source: str) -> int:
    first = ast.parse(source).body[0]
    lines = source.splitlines(keepends=True)
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return sum(map(len, lines[: (first.end_lineno or 0) if is_docstring else 0]))


def _total_s(verdict: dict[str, Any]) -> float:
    """Return the median Total of the base revision, in seconds."""
    for decision in verdict["decisions"]:
        rule, finding = decision["rule"], decision["findings"][0]
        if rule["metric"] == "total_ms" and (rule["against"] or {}).get("arm") == BASE:
            return float(finding["reference_median"]["value"]) / 1000
    raise BenchError("the gate does not judge total_ms, which determines how much slower the head gets")


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        raise BenchError(f"git {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout.strip()
