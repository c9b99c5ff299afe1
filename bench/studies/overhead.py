"""``python -m bench.overhead``: what a vector costs a fresh process, in units of ``python -c pass``.

Whole processes, from spawn to exit, in rounds of random order: the interpreter alone, ``import numpy``, then a vector
as bytes and as an array, the command ``python -m loader embed``, and the example ``aur search``, each through a running
model service and without one. *First run* has an empty cache, as on the day that the library was installed. *Frozen*
calls ``gc.freeze()`` at its end, as the command and the example do. Every vector is compared with one from another
process, every search with another one. The service belongs to this run alone.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.data.fields import to_json
from bench.errors import BenchError
from bench.measure.machine import describe_environment
from bench.measure.process import run_python
from bench.measure.revision import describe_revision
from bench.measure.scenarios.search_command import PROGRAM
from bench.measure.service_process import private_runtime, stop_service
from bench.measure.variables import RUNTIME, fixed_variables, temporary_variables, worker_environment
from bench.programs import at_least_one, new_parser, run_main
from bench.quality.retrieval import short_sentences
from bench.stats.shifts import Shift, paired_shift

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bench.measure.process import Outcome

SCHEMA = 1
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXT = "database connection"
TIMEOUT_S = 60.0
INDEX_TIMEOUT_S = 900.0
TOLERANCE = 1e-5
"""By how much a component of a vector may differ: engines sum in different orders."""
ALPHA = 0.025
"""Error probability on each side, for intervals of 95 %."""

_LIBRARY = """
import sys
from loader import OptimizedEmbeddingLoader, ServiceOptions
loader = OptimizedEmbeddingLoader(sys.argv[1], "{strategy}"{options})
print(loader.load().{embed}.hex())
"""
_BYTES, _ARRAY = "embed_query_bytes(sys.argv[2])", "embed_query(sys.argv[2]).tobytes()"
_RUNNING = ", service=ServiceOptions(start=None, fallback=False)"


_FREEZE = """
import gc
gc.freeze()
"""


def _library(strategy: str, embed: str = _BYTES, options: str = "", ending: str = "") -> tuple[str, ...]:
    program = _LIBRARY.format(strategy=strategy, options=options, embed=embed)
    return "-c", program + ending, "{model}", TEXT


def _search(strategy: str) -> tuple[str, ...]:
    words = ("search", TEXT, "--database", "{database}", "--model", "{model}", "--strategy", strategy)
    return "-P", str(PROGRAM), *words


REFERENCE = "python -c pass"
FIRST_RUN = "library, progressive, first run"
SEARCHES = {"aur search, service": _search("service"), "aur search, progressive": _search("progressive")}
COMMANDS: dict[str, tuple[str, ...]] = {
    REFERENCE: ("-c", "pass"),
    "import numpy": ("-c", "import numpy"),
    "library, service": _library("service", options=_RUNNING),
    "command, service": ("-m", "loader", "embed", "--model", "{model}", TEXT),
    "library, progressive": _library("progressive"),
    FIRST_RUN: _library("progressive"),
    "library, progressive, frozen": _library("progressive", ending=_FREEZE),
    "library, progressive, array": _library("progressive", _ARRAY),
    "command, progressive": ("-m", "loader", "embed", "--model", "{model}", "--strategy", "progressive", TEXT),
    **SEARCHES,
}
"""What is timed, in the order of the table. Those named after the service use the running one; an array needs NumPy."""


@dataclass(frozen=True)
class CommandTimes:
    """The result for one command.

    Attributes:
        command: its name in ``COMMANDS``.
        median_s, lowest_s, highest_s: seconds from spawn to exit.
        shift: ratio to the interpreter's own time, paired by round; None for itself.
    """

    command: str
    median_s: float
    lowest_s: float
    highest_s: float
    shift: Shift | None


def measure(model: str, rounds: int, environ: Mapping[str, str], database: Path | None) -> dict[str, list[float]]:
    """Return the seconds of each command in each round, after one warm-up round.

    Args:
        model: its name.
        rounds: how many count.
        environ: the processes' environment.
        database: what is searched; None to leave the searches out.

    Raises:
        BenchError: a process failed, or its vector or what it found is wrong.
    """
    order = random.Random(rounds)  # noqa: S311 - repeatability is the point
    names = [name for name in COMMANDS if database is not None or name not in SEARCHES]
    times: dict[str, list[float]] = {name: [] for name in names}
    reference = _vector(_run("library, progressive", model, environ, database))
    found: bytes | None = None
    for number in track(range(rounds + 1), description="rounds", console=Console(stderr=True), auto_refresh=False):
        for name in order.sample(names, len(names)):
            outcome = _run(name, model, environ, database)
            if name in SEARCHES:
                found = found or outcome.output
                if not found or outcome.output != found:
                    raise BenchError(f"{name}: it found {outcome.output!r}, another search {found!r}.")
            elif outcome.output and not _agrees(_vector(outcome), reference):
                raise BenchError(f"{name}: the vector differs from that of a process without a service.")
            if number:
                times[name].append((outcome.exit_ns - outcome.spawn_ns) / 1e9)
    return times


def summarise(times: Mapping[str, list[float]]) -> list[CommandTimes]:
    """Return a row for each command."""
    base = times[REFERENCE]
    return [
        CommandTimes(
            name,
            statistics.median(values),
            min(values),
            max(values),
            None
            if name == REFERENCE
            else paired_shift([math.log(mine / theirs) for mine, theirs in zip(values, base, strict=True)], ALPHA),
        )
        for name, values in times.items()
    ]


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    times = _with_service(arguments.model, arguments.rounds, arguments.passages)
    rows = summarise(times)
    _print(rows)
    if arguments.json:
        revision = describe_revision()
        report = {
            "schema": SCHEMA,
            "model": arguments.model,
            "rounds": arguments.rounds,
            "passages": arguments.passages,
            "revision": revision and to_json(revision),
            "environment": describe_environment().to_json(),
            "seconds": times,
        }
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _with_service(model: str, rounds: int, passages: int) -> dict[str, list[float]]:
    with private_runtime() as runtime, tempfile.TemporaryDirectory() as folder:
        environ = worker_environment(Path(folder) / "cache") | temporary_variables(Path(folder) / "tmp")
        environ[RUNTIME] = str(runtime)
        try:
            started = run_python(["-m", "loader", "serve", "--detach", "--model", model], environ, TIMEOUT_S)
            if started.exit_code != 0:
                raise BenchError(f"The service did not start: {started.stderr_tail}")
            database = _make_index(model, passages, environ, Path(folder)) if PROGRAM.is_file() else None
            return measure(model, rounds, environ, database)
        finally:
            stop_service(runtime, environ)


def _make_index(model: str, passages: int, environ: Mapping[str, str], folder: Path) -> Path:
    """Make what is searched: short sentences, as many as asked for."""
    database, texts = folder / "aur.sqlite", folder / "passages.txt"
    texts.write_text("\n\n".join(short_sentences(passages)), encoding="utf-8")
    words = ["-P", str(PROGRAM), "index", str(texts), "--database", str(database), "--model", model]
    outcome = run_python(words, environ, INDEX_TIMEOUT_S)
    if outcome.exit_code != 0:
        raise BenchError(f"The index could not be made: {outcome.stderr_tail}")
    return database


def _run(name: str, model: str, environ: Mapping[str, str], database: Path | None) -> Outcome:
    words = [word.replace("{model}", model).replace("{database}", str(database)) for word in COMMANDS[name]]
    with tempfile.TemporaryDirectory() as folder:
        # Not the run's own cache, so that nothing is there that an earlier process remembered.
        own = fixed_variables(Path(folder)) if name == FIRST_RUN else {}
        outcome = run_python(words, {**environ, **own}, TIMEOUT_S)
    if outcome.exit_code != 0:
        raise BenchError(f"{name} failed with exit code {outcome.exit_code}: {outcome.stderr_tail}")
    return outcome


def _vector(outcome: Outcome) -> list[float]:
    text = outcome.output.decode().strip()
    if text.startswith("["):
        return [float(number) for number in json.loads(text)]
    return list(memoryview(bytes.fromhex(text)).cast("f"))


def _agrees(vector: list[float], reference: list[float]) -> bool:
    return len(vector) == len(reference) and all(
        abs(mine - theirs) <= TOLERANCE for mine, theirs in zip(vector, reference, strict=True)
    )


def _print(rows: list[CommandTimes]) -> None:
    table = Table(title="Whole processes, from spawn to exit", title_justify="left")
    for heading in ("Command", "Median, ms", "Range", "Times the interpreter", "95 %"):
        table.add_column(heading, justify="left" if heading == "Command" else "right")
    for row in rows:
        spread = f"{1e3 * row.lowest_s:.1f} to {1e3 * row.highest_s:.1f}"
        shift = row.shift
        ratio = ("1", "") if shift is None else (f"{shift.ratio:.2f}", f"{shift.low:.2f} to {shift.high:.2f}")
        table.add_row(row.command, f"{1e3 * row.median_s:.1f}", spread, *ratio)
    Console().print(table)


def _parse() -> argparse.Namespace:
    parser = new_parser("overhead", __doc__)
    parser.add_argument("--model", default=MODEL, help="default: %(default)s")
    parser.add_argument("--rounds", type=at_least_one, default=40, help="counted rounds (default: %(default)s)")
    parser.add_argument(
        "--passages", type=at_least_one, default=10_000, help="how many are searched (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures of all rounds to this file")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
