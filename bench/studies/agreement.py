"""``python -m bench.agreement``: does an outside timer agree with ours about whole processes?

Pairs of the same process, timed once by ``bench.measure.process`` and once by hyperfine. Everything that a process can
notice is the same: command line, environment, folder, an empty standard input, a pipe for its answer. Two differences
remain: ours runs in a new session with a file as standard error, and hyperfine adds variables to the environment, one
of them of random length. Neither timer subtracts anything: with ``--shell=none`` hyperfine has no shell to subtract.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.errors import EXIT_OK, EXIT_REGRESSION, BenchError
from bench.measure.lock import PARENT_OPTION, machine_lock
from bench.measure.machine import describe_environment
from bench.measure.process import run_worker, worker_command
from bench.measure.run import needs, prepare_model
from bench.measure.runner import judge_outcome
from bench.measure.sampler import worker_options
from bench.measure.variables import temporary_variables, worker_environment
from bench.plan.cell import Cell
from bench.plan.places import CONF
from bench.programs import at_least_one, new_parser, run_main
from bench.progress import announce
from bench.stats.intervals import CONFIDENCE, Interval, median_interval
from bench.studies.hyperfine import Hyperfine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCHEMA = 1
TOLERANCE = 0.03
"""By how much a median ratio may differ from 1: the same tolerance as when comparing two runs."""
TIMEOUT_S = 120.0
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class TimedPair:
    """The same process twice, one right after the other.

    Attributes:
        strategy: the loader's strategy.
        round: from 1.
        ours_first: which of the two came first.
        ours_s: seconds from spawn to exit, by ``bench.measure.process``.
        theirs_s: the same by hyperfine.
    """

    strategy: str
    round: int
    ours_first: bool
    ours_s: float
    theirs_s: float


@dataclass(frozen=True)
class Agreement:
    """The result for one strategy.

    Attributes:
        strategy: the loader's strategy.
        pairs: the number of pairs.
        ours_s, theirs_s: medians.
        difference_s: median of the differences within pairs, ours minus theirs.
        ratio: median of the ratios within pairs, ours to theirs.
        interval: confidence interval of that ratio; None if there are too few pairs.
    """

    strategy: str
    pairs: int
    ours_s: float
    theirs_s: float
    difference_s: float
    ratio: float
    interval: Interval | None

    @property
    def holds(self) -> bool:
        """Whether the two timers agree."""
        return abs(self.ratio - 1.0) <= TOLERANCE


def main() -> int:
    """Measure, print, and return the exit code: whether the timers agree."""
    arguments = _parse()
    timer = Hyperfine.find()
    pairs = measure(arguments.model, arguments.strategies, arguments.pairs, timer)
    results = [summarise([pair for pair in pairs if pair.strategy == name]) for name in arguments.strategies]
    if arguments.json:
        report = {
            "schema": SCHEMA,
            "model": arguments.model,
            "timer": timer.version,
            "tolerance": TOLERANCE,
            "confidence": CONFIDENCE,
            "environment": describe_environment().to_json(),
            "strategies": [{**asdict(result), "holds": result.holds} for result in results],
            "samples": [asdict(pair) for pair in pairs],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    Console().print(to_table(results, timer.version))
    return EXIT_OK if all(result.holds for result in results) else EXIT_REGRESSION


def _parse() -> argparse.Namespace:
    conf = CONF / "strategy"
    known = sorted(path.stem for path in conf.glob("*.yaml"))

    def strategies(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
        return names

    parser = new_parser("agreement", __doc__)
    parser.add_argument(
        "--pairs", type=at_least_one, default=60, help="counted pairs per strategy (default: %(default)s)"
    )
    parser.add_argument("--strategies", type=strategies, default="lazy,progressive,cached", help="comma-separated list")
    parser.add_argument("--model", default=MODEL, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all pairs and the result to this file")
    return parser.parse_args()


def measure(model: str, strategies: Sequence[str], pairs: int, timer: Hyperfine) -> list[TimedPair]:
    """Return this many pairs of each strategy, after one warm-up round.

    Raises:
        BenchError: the model cannot be prepared, or a process failed.
    """
    with (
        machine_lock(None, lambda text: announce(text, quiet=False)),
        tempfile.TemporaryDirectory(prefix="bench-agreement-") as folder,
    ):
        scratch = Path(folder)
        environ = worker_environment(scratch / "cache") | temporary_variables(scratch / "tmp")
        options = _prepare(model, strategies, environ, scratch)

        def ours(name: str) -> float:
            outcome = run_worker(options[name], environ, TIMEOUT_S)
            status, message = judge_outcome(outcome)
            if status != "ok":
                raise BenchError(f"a {name} process ended with status {status}: {message}")
            return (outcome.exit_ns - outcome.spawn_ns) / 1e9

        def theirs(name: str) -> float:
            command = shlex.join([sys.executable, *worker_command(options[name])])
            return timer.time_s(command, environ, TIMEOUT_S, scratch)

        taken = []
        slots = list(plan_pairs(strategies, pairs, random.Random(pairs)))  # noqa: S311 - repeatability is the point
        for number, name, ours_first in track(slots, "pairs", console=Console(stderr=True), auto_refresh=False):
            times_s = {timing: timing(name) for timing in ((ours, theirs) if ours_first else (theirs, ours))}
            if number:
                taken.append(TimedPair(name, number, ours_first, times_s[ours], times_s[theirs]))
    return taken


def _prepare(
    model: str, strategies: Iterable[str], environ: Mapping[str, str], scratch: Path
) -> dict[str, dict[str, str]]:
    """Prepare the model as a first use leaves it, and return the worker's options by strategy."""
    cells = {
        name: Cell("embedding_loader", name, "auto", "model", model, "cpu", "at_once", threads=None)
        for name in strategies
    }
    prepared = prepare_model(model, environ, *needs(list(cells.values()), scratch))
    if "error" in prepared:
        raise BenchError(f"{model} cannot be prepared: {prepared['error']}")
    options = {name: worker_options(cell, prepared) for name, cell in cells.items()}
    for words in options.values():
        # The command lines must be the same, and half of the workers are children of hyperfine.
        del words[PARENT_OPTION]
    return options


def plan_pairs(strategies: Sequence[str], pairs: int, chance: random.Random) -> Iterator[tuple[int, str, bool]]:
    """Yield the round's number, the strategy, and whether ours comes first; round 0 is the warm-up."""
    for number in range(pairs + 1):
        for name in chance.sample(list(strategies), len(strategies)):
            yield number, name, chance.random() < 0.5


def summarise(pairs: Sequence[TimedPair]) -> Agreement:
    """Return the result for the pairs of one strategy."""
    ratios = [pair.ours_s / pair.theirs_s for pair in pairs]
    return Agreement(
        strategy=pairs[0].strategy,
        pairs=len(pairs),
        ours_s=statistics.median(pair.ours_s for pair in pairs),
        theirs_s=statistics.median(pair.theirs_s for pair in pairs),
        difference_s=statistics.median(pair.ours_s - pair.theirs_s for pair in pairs),
        ratio=statistics.median(ratios),
        interval=median_interval(ratios),
    )


def to_table(results: Sequence[Agreement], version: str) -> Table:
    """Return the results as a table; all have the same number of pairs."""
    title = f"Spawn to exit in ms, our timer and {version}: medians of {results[0].pairs} pairs"
    table = Table(title=title, title_justify="left")
    certain, tolerated = f"{CONFIDENCE:.0%} interval", f"±{TOLERANCE:.0%}"
    for heading in ("Strategy", "Ours", "Theirs", "Difference", "Ratio", certain, tolerated):
        table.add_column(heading, justify="left" if heading == "Strategy" else "right", no_wrap=True)
    for result in results:
        table.add_row(
            result.strategy,
            f"{result.ours_s * 1e3:.1f}",
            f"{result.theirs_s * 1e3:.1f}",
            f"{result.difference_s * 1e3:+.1f}",
            f"{result.ratio:.3f}",
            f"{result.interval.low:.3f} to {result.interval.high:.3f}" if result.interval else "-",
            "yes" if result.holds else "no",
        )
    return table


if __name__ == "__main__":
    run_main(main)
