"""One run of a command under hyperfine, an independent and widely used timer of whole processes."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.measure.process import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = "https://github.com/sharkdp/hyperfine"


@dataclass(frozen=True)
class Hyperfine:
    """The installed program.

    Attributes:
        path: the program's path.
        version: what it reports, such as ``"hyperfine 1.18.0"``.
    """

    path: str
    version: str

    @classmethod
    def find(cls) -> Hyperfine:
        """Look for it on the PATH.

        Raises:
            BenchError: it is not installed, or cannot be run.
        """
        path = shutil.which("hyperfine")
        if path is None:
            raise BenchError(f"hyperfine is not on the PATH. Get it from {HOME} or from your system's packages.")
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"{path} --version failed: {error}. Reinstall it from {HOME}.") from error
        return cls(path, said.stdout.strip())

    def time_s(self, command: str, environ: Mapping[str, str], timeout_s: float, folder: Path) -> float:
        """Run a command once and return its seconds from spawn to exit.

        Its standard output is a pipe that is read to its end, its standard input is empty.

        Args:
            command: words quoted as for a shell; no shell is involved.
            environ: the whole environment.
            timeout_s: hyperfine and the command are killed after this many seconds.
            folder: for the file with the result.

        Raises:
            BenchError: the command failed or took too long, or the result cannot be read.
        """
        result = folder / "hyperfine.json"
        words = ["--runs=1", "--shell=none", "--output=pipe", "--style=none", f"--export-json={result}", command]
        outcome = run_command([self.path, *words], environ, timeout_s)
        if outcome.timed_out:
            raise BenchError(f"killed after {timeout_s:.0f} s under hyperfine: {command}")
        if outcome.exit_code != 0:
            raise BenchError(f"hyperfine failed with exit code {outcome.exit_code}: {outcome.stderr_tail.strip()}")
        return read_time_s(result)


def read_time_s(file: Path) -> float:
    """Return the only time in a file of ``--export-json``.

    Raises:
        BenchError: the file does not have exactly one time.
    """
    try:
        (result,) = json.loads(file.read_text(encoding="utf-8"))["results"]
        (time_s,) = result["times"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BenchError(
            f"hyperfine's {file.name} does not have exactly one time: {error!r}. Is hyperfine a newer version?"
        ) from error
    if not isinstance(time_s, float) or not 0.0 < time_s < math.inf:
        raise BenchError(f"hyperfine's {file.name} says that the command took {time_s!r} seconds")
    return time_s
