"""``python -m bench.load``: measure, or make the page of an earlier load test."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.errors import EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK
from bench.load.options import PHASES, LoadTestOptions
from bench.load.report import PAGE, write_report
from bench.load.run import run_load
from bench.programs import new_parser
from bench.report.document import Table
from bench.report.terminal import show_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.document import Document

QUICK = {
    "clients": 4,
    "requests": 200,
    "in_process_requests": 64,
    "rounds": 1,
    "texts": 32,
    "fractions": (0.5,),
    "seconds": 2.0,
}
"""What ``--quick`` changes, unless given explicitly: a small run, to check that everything works."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _report(words[1:]) if words[:1] == ["report"] else _run(words)


def _run(words: Sequence[str]) -> int:
    asked = vars(_parser().parse_args(words))
    folder, quiet, quick = asked.pop("output") or _new_name(), asked.pop("quiet"), asked.pop("quick")
    given = {name: value for name, value in asked.items() if value is not None}
    options = LoadTestOptions(**{**(QUICK if quick else {}), **given})
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    command = shlex.join(["python", "-m", "bench.load", *words])
    try:
        with console.status("measuring") as status:

            def say(text: str) -> None:
                if not quiet:
                    console.print(text)
                    status.update(text)

            phases = run_load(options, folder, say, command=command)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"interrupted; to see what was measured: python -m bench.load report {shlex.quote(str(folder))}\n"
        )
        return EXIT_INTERRUPTED
    _show(write_report(folder), folder, quiet=quiet)
    return EXIT_MISSING if any(phase.bad or phase.status != "ok" for phase in phases) else EXIT_OK


def _report(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load report", description="Make the page of a load test again, from its records."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the load test's folder")
    parser.add_argument("--quiet", action="store_true", help="only print errors and where the page is")
    asked = parser.parse_args(words)
    _show(write_report(asked.folder), asked.folder, quiet=asked.quiet)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("load", epilog="python -m bench.load report FOLDER makes the page of a load test again.")
    usual = LoadTestOptions()
    add = parser.add_argument
    add("--model", help=f"name or folder (default: {usual.model})")
    add("--engine", help=f"engine of the service and of the single process (default: {usual.engine})")
    add("--phases", type=_names, metavar="NAMES", help=f"some of {','.join(PHASES)} (default: all)")
    add("--clients", type=int, metavar="N", help=f"connections to the service (default: {usual.clients})")
    add("--processes", type=int, metavar="N", help=f"processes that run the clients (default: {usual.processes})")
    add("--requests", type=int, metavar="N", help=f"requests of a closed loop, in total (default: {usual.requests})")
    add(
        "--in-process-requests",
        type=int,
        metavar="N",
        help=f"requests of one process (default: {usual.in_process_requests})",
    )
    add("--rounds", type=int, metavar="N", help=f"rounds, each with every phase once (default: {usual.rounds})")
    add("--texts", type=int, metavar="N", help=f"different sentences (default: {usual.texts})")
    shares = ",".join(map(str, usual.fractions))
    add(
        "--fractions",
        type=_numbers,
        metavar="LIST",
        help=f"rates of open loops, as shares of the throughput (default: {shares})",
    )
    add("--rates", type=_numbers, metavar="LIST", help="rates of open loops in requests per second, instead of shares")
    add("--seconds", type=float, metavar="S", help=f"duration of an open loop (default: {usual.seconds:g})")
    add("--seed", type=int, metavar="N", help=f"seed of arrivals and of all orders (default: {usual.seed})")
    add("--patience-s", type=float, metavar="S", help=f"longest wait for one answer (default: {usual.patience_s:g})")
    add("--timeout-s", type=float, metavar="S", help=f"time limit of a phase (default: {usual.timeout_s:g})")
    add("--output", type=Path, metavar="DIR", help="where the records go (default: reports/load-DATE)")
    add("--quick", action="store_true", help="a small run, to check that everything works")
    add("--quiet", action="store_true", help="only print errors and where the page is")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(dict.fromkeys(float(part) for part in text.split(",")))


def _new_name() -> Path:
    return Path("reports") / f"load-{datetime.datetime.now(datetime.UTC).astimezone():%Y-%m-%d_%H-%M-%S}"


def _show(document: Document, folder: Path, *, quiet: bool) -> None:
    tables = [block for section in document.sections[:-1] for block in section.blocks if isinstance(block, Table)]
    show_tables(tables, folder / PAGE, quiet=quiet)
