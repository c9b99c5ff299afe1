"""``python -m bench.agreement``: does an outside timer agree with ours about whole processes?

Pairs of the same process, timed once by ``bench.process`` and once by hyperfine. What a process can notice is alike:
command line, environment, folder, an empty standard input, a pipe for its answer. What remains different: ours gets a
session of its own and a file for its standard error, and hyperfine adds variables to the environment, one of them of
random length. Neither timer subtracts anything: with ``--shell=none`` hyperfine has no shell to subtract.

Exit codes: 0 they agree, 1 the median ratio of a strategy is off by more than ``TOLERANCE``, 2 nothing could be said.
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

from bench.environment import describe_environment
from bench.errors import BenchError
from bench.hyperfine import Hyperfine
from bench.intervals import CONFIDENCE, Interval, median_interval
from bench.lock import PARENT_OPTION, machine_lock
from bench.plan import Cell
from bench.process import run_worker, worker_command
from bench.progress import announce
from bench.run import needs, prepare_model
from bench.runner import judge_outcome
from bench.sampler import worker_options
from bench.variables import worker_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCHEMA = 1
TOLERANCE = 0.03
"""By how much a median ratio may differ from 1: what the comparison of two runs tolerates as well."""
TIMEOUT_S = 120.0
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Pair:
    """The same process twice, one right after the other.

    Attributes:
        strategy: of the loader.
        round: from 1.
        ours_first: which of the two came first.
        ours_s: seconds from spawn to exit, by ``bench.process``.
        theirs_s: the same by hyperfine.
    """

    strategy: str
    round: int
    ours_first: bool
    ours_s: float
    theirs_s: float


@dataclass(frozen=True)
class Agreement:
    """What the pairs of one strategy say.

    Attributes:
        strategy: of the loader.
        pairs: how many.
        ours_s, theirs_s: medians.
        difference_s: median of ours less theirs, within pairs.
        ratio: median of ours by theirs, within pairs.
        interval: of that median; None where there are too few pairs for one.
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


def main() -> None:
    """Measure, print, and exit as the module says."""
    arguments = _parse()
    try:
        timer = Hyperfine.find()
        pairs = measure(arguments.model, arguments.strategies, arguments.pairs, timer)
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    results = [summarise([pair for pair in pairs if pair.strategy == name]) for name in arguments.strategies]
    if arguments.json:
        report = {
            "schema": SCHEMA,
            "model": arguments.model,
            "timer": timer.version,
            "tolerance": TOLERANCE,
            "confidence": CONFIDENCE,
            "environment": describe_environment(),
            "strategies": [{**asdict(result), "holds": result.holds} for result in results],
            "samples": [asdict(pair) for pair in pairs],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    Console().print(to_table(results, timer.version))
    raise SystemExit(0 if all(result.holds for result in results) else 1)


def _parse() -> argparse.Namespace:
    conf = Path(__file__).resolve().parent.parent / "conf" / "strategy"
    known = sorted(path.stem for path in conf.glob("*.yaml"))

    def strategies(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
        return int(text)

    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=count, default=60, help="counted pairs a strategy (default: %(default)s)")
    parser.add_argument("--strategies", type=strategies, default="lazy,progressive,cached", help="separated by commas")
    parser.add_argument("--model", default=MODEL, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all pairs and the result to this file")
    return parser.parse_args()


def measure(model: str, strategies: Sequence[str], pairs: int, timer: Hyperfine) -> list[Pair]:
    """Return so many pairs of each strategy, after one warm-up round.

    Raises:
        BenchError: the model cannot be prepared, or a process failed.
    """
    with (
        machine_lock(None, lambda text: announce(text, quiet=False)),
        tempfile.TemporaryDirectory(prefix="bench-agreement-") as folder,
    ):
        scratch = Path(folder)
        environ = worker_environment(scratch / "cache")
        options = _prepare(model, strategies, environ, scratch)

        def ours(name: str) -> float:
            outcome = run_worker(options[name], environ, TIMEOUT_S)
            status, message = judge_outcome(outcome)
            if status != "ok":
                raise BenchError(f"a process of {name} ended as {status}: {message}")
            return (outcome.exit_ns - outcome.spawn_ns) / 1e9

        def theirs(name: str) -> float:
            command = shlex.join([sys.executable, *worker_command(options[name])])
            return timer.time_s(command, environ, TIMEOUT_S, scratch)

        taken = []
        slots = list(order(strategies, pairs, random.Random(pairs)))  # noqa: S311 - repeatability is the point
        for number, name, ours_first in track(slots, "pairs", console=Console(stderr=True), auto_refresh=False):
            times_s = {timing: timing(name) for timing in ((ours, theirs) if ours_first else (theirs, ours))}
            if number:
                taken.append(Pair(name, number, ours_first, times_s[ours], times_s[theirs]))
    return taken


def _prepare(
    model: str, strategies: Iterable[str], environ: Mapping[str, str], scratch: Path
) -> dict[str, dict[str, str]]:
    """Bring the model into the state of a second use and return the worker's options by strategy."""
    cells = {
        name: Cell("embedding_loader", name, "auto", "model", model, "cpu", "at_once", threads=None)
        for name in strategies
    }
    prepared = prepare_model(model, environ, *needs(list(cells.values()), scratch))
    if "error" in prepared:
        raise BenchError(f"{model} cannot be prepared: {prepared['error']}")
    options = {name: worker_options(cell, prepared) for name, cell in cells.items()}
    for words in options.values():
        # The command lines are to be equal, and half of the workers are children of hyperfine.
        del words[PARENT_OPTION]
    return options


def order(strategies: Sequence[str], pairs: int, chance: random.Random) -> Iterator[tuple[int, str, bool]]:
    """Yield number of the round, strategy, and whether ours comes first; round 0 is the warm-up."""
    for number in range(pairs + 1):
        for name in chance.sample(list(strategies), len(strategies)):
            yield number, name, chance.random() < 0.5


def summarise(pairs: Sequence[Pair]) -> Agreement:
    """Return what the pairs of one strategy say."""
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
    """Return the results, of equally many pairs each, as a table."""
    title = f"Spawn to exit in ms, ours and {version}: medians of {results[0].pairs} pairs"
    table = Table(title=title, title_justify="left")
    certain, tolerated = f"{CONFIDENCE:.0%} interval", f"±{TOLERANCE:.0%}"
    for heading in ("Strategy", "Ours", "Theirs", "Differ by", "Ratio", certain, tolerated):
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
    main()
