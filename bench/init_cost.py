"""``python -m bench.init_cost``: what importing the library, constructing a loader and starting it add to a program.

Whole processes, from spawn to exit as a timer outside sees them, in randomised interleaved rounds: a program that only
imports ``threading`` and ``enum``, and for each strategy one that makes a loader, calls ``start_loading()`` and ends.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.process import run_python
from bench.resident import SERVICE_COLD
from bench.variables import worker_environment

REFERENCE = "import threading, enum"
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
        SystemExit: a program failed.
    """
    order = random.Random(rounds)  # noqa: S311 - repeatability is the point
    times_ms: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as cache:
        environ = worker_environment(Path(cache))
        for number in track(range(rounds + 1), description="rounds", console=Console(stderr=True), auto_refresh=False):
            for name in order.sample(list(programs), len(programs)):
                outcome = run_python(["-c", programs[name]], environ, TIMEOUT_S)
                if outcome.exit_code != 0 or outcome.stderr_tail:
                    raise SystemExit(f"{name} ended with exit code {outcome.exit_code}: {outcome.stderr_tail}")
                if number:
                    times_ms[name].append((outcome.exit_ns - outcome.spawn_ns) / 1e6)
    return times_ms


def main() -> None:
    """Measure and print; the exit code is 1 if a strategy exceeds the budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.init_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="counted rounds (default: %(default)s)")
    rounds = max(parser.parse_args().rounds, 1)
    conf = Path(__file__).resolve().parent.parent / "conf" / "strategy"
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
    raise SystemExit(1 if worst > BUDGET_MS else 0)


if __name__ == "__main__":
    main()
