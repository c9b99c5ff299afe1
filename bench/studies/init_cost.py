"""``python -m bench.init_cost``: what importing the library, constructing a loader and starting it add to a program.

Whole processes, timed from outside from spawn to exit, in randomised interleaved rounds: an empty program, and for each
strategy one that makes a loader, calls ``start_loading()`` and ends.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.errors import EXIT_OK, EXIT_REGRESSION, BenchError
from bench.measure.process import run_python
from bench.measure.variables import temporary_variables, worker_environment
from bench.plan.cell import SERVICE_COLD
from bench.plan.places import CONF
from bench.programs import at_least_one, new_parser, run_main

REFERENCE = "pass"
PROGRAM = """
from loader import LoadingStrategy, OptimizedEmbeddingLoader
OptimizedEmbeddingLoader("all-MiniLM-L6-v2", LoadingStrategy({strategy!r})).start_loading()
"""
BUDGET_MS = 8.0
"""What a strategy may add, in milliseconds (median)."""
TIMEOUT_S = 60.0


def measure(programs: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each program in each round, after one warm-up round.

    Raises:
        BenchError: a program failed.
    """
    order = random.Random(rounds)  # noqa: S311 - repeatability is the point
    times_ms: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        environ = worker_environment(Path(folder) / "cache") | temporary_variables(Path(folder) / "tmp")
        for number in track(range(rounds + 1), description="rounds", console=Console(stderr=True), auto_refresh=False):
            for name in order.sample(list(programs), len(programs)):
                outcome = run_python(["-c", programs[name]], environ, TIMEOUT_S)
                if outcome.exit_code != 0 or outcome.stderr_tail:
                    raise BenchError(f"{name} failed with exit code {outcome.exit_code}: {outcome.stderr_tail}")
                if number:
                    times_ms[name].append((outcome.exit_ns - outcome.spawn_ns) / 1e6)
    return times_ms


def main() -> int:
    """Measure and print; the exit code is 1 if a strategy exceeds the budget."""
    parser = new_parser("init_cost", __doc__)
    parser.add_argument("--rounds", type=at_least_one, default=40, help="counted rounds (default: %(default)s)")
    rounds = parser.parse_args().rounds
    conf = CONF / "strategy"
    strategies = sorted({path.stem for path in conf.glob("*.yaml")} - {SERVICE_COLD})  # it starts like "service"
    programs = {REFERENCE: REFERENCE, **{name: PROGRAM.format(strategy=name) for name in strategies}}
    times_ms = measure(programs, rounds)

    table = Table(title=f"Whole processes, {rounds} interleaved rounds (ms)", title_justify="left")
    for heading in ("Program", "Median", "Adds, median", "Adds, middle half"):
        table.add_column(heading, justify="left" if heading == "Program" else "right")
    worst = 0.0
    for name, times in times_ms.items():
        added = [mine - theirs for mine, theirs in zip(times, times_ms[REFERENCE], strict=True)]
        low, middle, high = statistics.quantiles(added, n=4) if rounds > 1 else added * 3
        worst = max(worst, middle)
        shown = ("-", "-") if name == REFERENCE else (f"{middle:.1f}", f"{low:.1f} to {high:.1f}")
        table.add_row(name, f"{statistics.median(times):.1f}", *shown)
    Console().print(table)
    return EXIT_REGRESSION if worst > BUDGET_MS else EXIT_OK


if __name__ == "__main__":
    run_main(main)
