"""Follow README.md and docs/tutorial.md in an empty environment, and print what each step took.

``python -m tests.journey [--all]``, by hand: it installs packages with pip. The package comes from this checkout, the
model from a hub on the loopback interface that serves the MiniLM of this machine, into an empty HF_HOME. Commands that
need large extras, PyTorch among them, run only with ``--all``. Exit code 1 if a step fails or a limit is broken.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loader.model.source import find
from tests.conftest import MINILM, ROOT
from tests.project.test_docs import BLOCK, DOCS
from tests.support.hubserver import serve_hub

PAGES = (ROOT / "README.md", DOCS / "tutorial.md")
BASE_MIB = 120
"""Most that the base install may add to site-packages."""
FIRST_VECTOR_S = 60
"""Longest from the empty environment to the first vector; the download from the loopback interface is part of it."""

DISTRIBUTION = re.compile(r"optimized-embedding-loader(?=\[|'|\s|$)")
LARGE = re.compile(r"torch|pip install .*\[|-m bench|-m pytest|loader compile")
ELSEWHERE = ("git ", "make ", "cd ", "curl ", "python -m venv ")
"""Commands of other programs, and what is done already."""
OWN_VARIABLES = (
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "SENTENCE_",
    "EMBEDDING_",
    "PYTHON",
    "VIRTUAL_",
    "OMP_",
    "XDG_",
)
"""Prefixes of what a newcomer has not set."""


@dataclass(frozen=True)
class Step:
    """A command of a page."""

    page: str
    shown: str
    words: tuple[str, ...]

    @property
    def is_large(self) -> bool:
        return self.words[0] == "sh" and LARGE.search(self.shown) is not None

    @property
    def is_base_install(self) -> bool:
        return "pip install" in self.shown and not self.is_large

    @property
    def gives_a_vector(self) -> bool:
        return self.words[0] == "python" or "loader embed" in self.shown


@dataclass(frozen=True)
class Done:
    """A step that was made, or not."""

    step: Step
    seconds: float
    mib: float
    outcome: str


def steps_of(page: Path) -> list[Step]:
    """Return the commands of a page, line by line; a Python block goes on where the one before it ended."""
    steps, code = [], ""
    for language, body in BLOCK.findall(page.read_text()):
        if language == "python":
            code += body
            first = next(line for line in body.splitlines() if line and not line.startswith(("from ", "import ")))
            steps.append(Step(page.name, f"Python: {first}", ("python", "-c", code)))
        elif language == "sh":
            lines = [line for line in body.splitlines() if shlex.split(line, comments=True)]
            steps += [Step(page.name, line, ("sh", "-c", from_checkout(line))) for line in lines]
    return steps


def from_checkout(command: str) -> str:
    """Return a command that installs this checkout where the page installs the published package."""
    return DISTRIBUTION.sub(str(ROOT), command) if "pip install" in command else command


class Journey:
    """The steps made so far, in a folder with an environment, a home and a working folder."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.done: list[Done] = []
        (folder / "home").mkdir()
        (folder / "work").mkdir()
        (folder / "work" / "docs").symlink_to(DOCS)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
        self.environ = kept | {
            "PATH": os.pathsep.join((str(folder / "environment" / "bin"), os.environ["PATH"])),
            "HOME": str(folder / "home"),
            "HF_HOME": str(folder / "hub"),
            "HF_ENDPOINT": endpoint,
            "EMBEDDING_LOADER_RUNTIME": str(folder / "runtime"),
            "no_proxy": "127.0.0.1",
        }
        self.make(Step("before", "python -m venv", (sys.executable, "-m", "venv", str(folder / "environment"))))

    def make(self, step: Step) -> None:
        """Make a step and note what it took."""
        print(f"{step.page}: {step.shown}", file=sys.stderr)
        start = time.perf_counter()
        code = self.run(*step.words)
        self.done.append(Done(step, time.perf_counter() - start, self.mib(), f"exit code {code}" if code else "ok"))

    def run(self, *words: str) -> int:
        """Run a command and return its exit code; its output is shown if it fails."""
        done = subprocess.run(
            words, cwd=self.folder / "work", env=self.environ, capture_output=True, text=True, timeout=3600, check=False
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
        return done.returncode

    def mib(self) -> float:
        """Return the size of all files in the environment's site-packages."""
        files = (self.folder / "environment").glob("lib*/**/site-packages/**/*")
        return sum(path.lstat().st_size for path in files if not path.is_dir() and "lib64" not in path.parts) / 2**20

    def problems(self) -> list[str]:
        """Return what did not go as it should."""
        found = [f"{done.step.shown}: {done.outcome}" for done in self.done if done.outcome.startswith("exit")]
        base = next((done for done in self.done if done.step.is_base_install), None)
        first = next((index for index, done in enumerate(self.done) if done.step.gives_a_vector), None)
        if base is None or first is None:
            return [*found, "README.md has no base install, or no vector"]
        seconds = sum(done.seconds for done in self.done[: first + 1])
        mib = base.mib - self.done[0].mib
        print(f"base install: {mib:.1f} MiB of {BASE_MIB}; first vector: {seconds:.1f} s of {FIRST_VECTOR_S}")
        if mib > BASE_MIB:
            found.append(f"the base install adds {mib:.1f} MiB, more than {BASE_MIB}")
        if seconds > FIRST_VECTOR_S:
            found.append(f"the first vector came after {seconds:.1f} s, later than {FIRST_VECTOR_S}")
        return found

    def table(self) -> Table:
        """Return all steps; MiB is what site-packages has more than in an empty environment (pip)."""
        table = Table("Page", "Command", "Seconds", "MiB", "Outcome")
        for done in self.done:
            figures = (f"{done.seconds:.1f}", f"{done.mib - self.done[0].mib:.1f}")
            table.add_row(done.step.page, escape(textwrap.shorten(done.step.shown, 68)), *figures, done.outcome)
        return table


def main() -> int:
    """Make the journey."""
    parser = argparse.ArgumentParser(prog="python -m tests.journey", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what needs large extras (gigabytes)")
    everything = parser.parse_args().all
    model = find(MINILM)
    if model is None:
        print(f"Skipped: {MINILM} is not on this machine. python -m loader doctor tells how to get it.")
        return 0
    with tempfile.TemporaryDirectory() as folder, serve_hub({MINILM: Path(model.path)}) as (endpoint, _):
        journey = Journey(Path(folder), endpoint)
        for step in [step for page in PAGES for step in steps_of(page)]:
            if step.shown.startswith(ELSEWHERE) or (step.is_large and not everything):
                why = "only with --all" if step.is_large else "not part of it"
                journey.done.append(Done(step, 0.0, journey.done[-1].mib, why))
            else:
                journey.make(step)
        journey.run("python", "-m", "loader", "stop")  # a service that a page has started
        Console(width=120).print(journey.table())
        problems = journey.problems()
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
