"""``python -m bench.load``: measure, or make the page of what was measured."""

from __future__ import annotations

import argparse
import datetime
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.errors import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, BenchError
from bench.load.options import PHASES, LoadOptions
from bench.load.report import PAGE, write_report
from bench.load.run import run_load
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
"""What ``--quick`` changes, unless it is given: to see that everything works."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _report(words[1:]) if words[:1] == ["report"] else _run(words)
    except (BenchError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _run(words: Sequence[str]) -> int:
    # Ended like Ctrl-C, so that the service is stopped then as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = vars(_parser().parse_args(words))
    folder, quiet, quick = asked.pop("output") or _new_name(), asked.pop("quiet"), asked.pop("quick")
    given = {name: value for name, value in asked.items() if value is not None}
    options = LoadOptions(**{**(QUICK if quick else {}), **given})
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
            f"interrupted; for what was measured: python -m bench.load report {shlex.quote(str(folder))}\n"
        )
        return EXIT_INTERRUPTED
    _show(write_report(folder), folder, quiet=quiet)
    return EXIT_MISSING if any(phase.bad or phase.status != "ok" for phase in phases) else EXIT_OK


def _report(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load report", description="Make the page of a load test again, from its records."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the load test")
    parser.add_argument("--quiet", action="store_true", help="only print errors and where the page is")
    asked = parser.parse_args(words)
    _show(write_report(asked.folder), asked.folder, quiet=asked.quiet)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load",
        description="Many clients of the model service at once, beside the same model in one process.",
        epilog="python -m bench.load report FOLDER makes the page again. Exit codes: 0 every request got the right "
        "vector; 1 one did not, or a phase failed; 2 the load test could not be made; 130 interrupted.",
        argument_default=None,
    )
    usual = LoadOptions()
    add = parser.add_argument
    add("--model", help=f"name or folder ({usual.model})")
    add("--engine", help=f"of the service and of the one process ({usual.engine})")
    add("--phases", type=_names, metavar="NAMES", help=f"some of {','.join(PHASES)} (all)")
    add("--clients", type=int, metavar="N", help=f"connections to the service ({usual.clients})")
    add("--processes", type=int, metavar="N", help=f"processes that hold the clients ({usual.processes})")
    add("--requests", type=int, metavar="N", help=f"of a closed loop, all clients together ({usual.requests})")
    add("--in-process-requests", type=int, metavar="N", help=f"of one process ({usual.in_process_requests})")
    add("--rounds", type=int, metavar="N", help=f"each has every phase once ({usual.rounds})")
    add("--texts", type=int, metavar="N", help=f"different sentences ({usual.texts})")
    shares = ",".join(map(str, usual.fractions))
    add(
        "--fractions",
        type=_numbers,
        metavar="LIST",
        help=f"rates of open loops, as shares of the throughput ({shares})",
    )
    add("--rates", type=_numbers, metavar="LIST", help="rates of open loops in requests a second, instead of shares")
    add("--seconds", type=float, metavar="S", help=f"of an open loop ({usual.seconds:g})")
    add("--seed", type=int, metavar="N", help=f"of the order of phases and texts, and of arrivals ({usual.seed})")
    add("--patience-s", type=float, metavar="S", help=f"for one answer ({usual.patience_s:g})")
    add("--timeout-s", type=float, metavar="S", help=f"for all of a phase ({usual.timeout_s:g})")
    add("--output", type=Path, metavar="DIR", help="where the records go (reports/load-DATE)")
    add("--quick", action="store_true", help="a small run, to see that everything works")
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
