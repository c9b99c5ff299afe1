"""The programs of the harness: which there are, what their exit codes mean, and how each of them starts and ends."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from bench.errors import (
    EXIT_HARNESS,
    EXIT_INCOMPARABLE,
    EXIT_INTERRUPTED,
    EXIT_MISSING,
    EXIT_OK,
    EXIT_REGRESSION,
    BenchError,
    ConfigError,
    missing_extra,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Main = Callable[[], int | None]

COMMON_EXIT_CODES = {
    EXIT_HARNESS: "no result: a wrong option, something missing or damaged, or any failure of the harness",
    EXIT_INTERRUPTED: "interrupted",
}
"""What these mean for every program."""


@dataclass(frozen=True)
class Program:
    """A program, started with ``python -m bench.NAME`` or ``python -m bench NAME``.

    Attributes:
        name: what it is started by.
        summary: what it does, in one line.
        module: the module with its ``main``.
        own_exit_codes: what the codes mean that are not in ``COMMON_EXIT_CODES``.
    """

    name: str
    summary: str
    module: str
    own_exit_codes: Mapping[int, str] = field(default_factory=lambda: {EXIT_OK: "done"})

    @property
    def command(self) -> str:
        """How it is started."""
        return f"python -m bench.{self.name}" if self.name else "python -m bench"

    @property
    def exit_codes(self) -> dict[int, str]:
        """What all its exit codes mean, in ascending order."""
        return dict(sorted({**COMMON_EXIT_CODES, **self.own_exit_codes}.items()))

    def main(self) -> Main:
        """Import the program and return its main function."""
        main: Main = importlib.import_module(self.module).main
        return main


MEASURE = Program(
    "",
    "measures what loading a model costs, from process start to first embedding",
    "bench.cli",
    {EXIT_OK: "measured", EXIT_MISSING: "a cell has no valid sample"},
)
"""The harness itself, whose options are Hydra's."""

PROGRAMS = (
    Program("report", "writes a report from the records of one run, or of several together", "bench.report.__main__"),
    Program(
        "compare",
        "shows what changed from one run to another, on the same machine",
        "bench.compare.__main__",
        {
            EXIT_OK: "nothing is over its limit",
            EXIT_REGRESSION: "something is over its limit",
            EXIT_INCOMPARABLE: "the runs cannot be compared, or the result is inconclusive",
        },
    ),
    Program(
        "gate",
        "decides whether a revision starts slower than another one, or takes more memory",
        "bench.gate.__main__",
        {
            EXIT_OK: "no rule is broken",
            EXIT_REGRESSION: "a rule is broken",
            EXIT_INCOMPARABLE: "inconclusive, or the baseline is from another machine or other versions",
        },
    ),
    Program("history", "plots how runs of one machine develop over commits", "bench.history.__main__"),
    Program(
        "merge",
        "combines several runs, of one machine or many",
        "bench.merge",
        {EXIT_OK: "done", EXIT_INCOMPARABLE: "--require-same-machine, and the runs are of several"},
    ),
    Program(
        "export",
        "writes a run's figures in the formats that other tools read",
        "bench.export",
        {EXIT_OK: "done", EXIT_MISSING: "the run has no sample to export"},
    ),
    Program(
        "load",
        "load-tests the model service, next to the same model in one process",
        "bench.load.cli",
        {EXIT_OK: "every request got the right vector", EXIT_MISSING: "a request did not, or a phase failed"},
    ),
    Program(
        "overhead",
        "times a vector in a fresh process against python -c pass, with and without a service",
        "bench.studies.overhead",
    ),
    Program(
        "throughput",
        "measures texts per second, engine by engine, next to plain sentence-transformers",
        "bench.studies.throughput",
    ),
    Program(
        "init_cost",
        "measures what importing the library, making a loader and starting it add to a program",
        "bench.studies.init_cost",
        {EXIT_OK: "every strategy is within the budget", EXIT_REGRESSION: "a strategy exceeds it"},
    ),
    Program(
        "agreement",
        "checks whether hyperfine agrees with our timer about whole processes",
        "bench.studies.agreement",
        {EXIT_OK: "they agree", EXIT_REGRESSION: "a median ratio is off by more than 3 %"},
    ),
    Program(
        "study",
        "measures how often the gate is wrong, and how much slower a revision must be to be caught",
        "bench.studies.power.__main__",
    ),
    Program(
        "publish",
        "makes the committed reports and the generated parts of the documentation anew",
        "bench.publish.__main__",
        {EXIT_OK: "done", EXIT_REGRESSION: "--check, and a file differs from the records"},
    ),
)
"""In the order of ``python -m bench --help``."""


def find_program(name: str) -> Program:
    """Return the program of this name.

    Raises:
        ConfigError: there is none.
    """
    for program in PROGRAMS:
        if program.name == name:
            return program
    raise ConfigError(
        f"There is no program {name!r}; choose from {', '.join(program.name for program in PROGRAMS)}. "
        "To measure, give settings as name=value, for example strategy=lazy"
    )


def list_programs() -> str:
    """Return a line for each program: its name and what it does."""
    width = max(len(program.name) for program in PROGRAMS)
    return "\n".join(f"{program.name:{width}}  {program.summary}" for program in PROGRAMS)


def list_exit_codes(program: Program) -> str:
    """Return a line for each exit code of a program."""
    return "\n".join(f"  {code:<3}  {meaning}" for code, meaning in program.exit_codes.items())


def new_parser(name: str, doc: str | None = None, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser for the command line of a program, whose help says what the table of programs does.

    Args:
        name: the program's.
        doc: the docstring of its module; what follows the first paragraph comes after the program's summary.
        epilog: what comes before the exit codes.
    """
    program = find_program(name)
    summary = f"{program.summary[0].upper()}{program.summary[1:]}."
    details = (doc or "").partition("\n\n")[2].replace("``", "")
    exit_codes = f"exit codes:\n{list_exit_codes(program)}"
    return argparse.ArgumentParser(
        prog=program.command,
        description=f"{summary}\n\n{details}".strip(),
        epilog=f"{epilog}\n\n{exit_codes}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def at_least_one(text: str) -> int:
    """Return the value of an option that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


_NOT_FOR_OTHERS = 0o022
"""Applied regardless of the umask: a record that anybody can change proves nothing."""


def run_main(main: Main) -> NoReturn:
    """Run a program's main function and end the process with the exit code, see ``exit_code_of``."""
    os.umask(os.umask(_NOT_FOR_OTHERS) | _NOT_FOR_OTHERS)
    # Like Ctrl-C: end what runs, keep what is measured, clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the process that started this
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process
    raise SystemExit(exit_code_of(main))


def exit_code_of(main: Main) -> int:
    """Run a program's main function and return the exit code; an error becomes a message on standard error.

    Any exception that is not foreseen gives ``EXIT_HARNESS``: Python's own 1 would mean that something got worse.
    """
    try:
        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        try:
            sys.stderr.write(f"error: {missing_extra(error)}\n")
        except ModuleNotFoundError:
            traceback.print_exc()
        return EXIT_HARNESS
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_HARNESS
    except Exception as error:  # noqa: BLE001 - the last place that can report it
        traceback.print_exc()
        sys.stderr.write(f"error: {type(error).__name__}: unexpected, so there is no result; please report it\n")
        return EXIT_HARNESS
    return EXIT_OK if code is None else code
