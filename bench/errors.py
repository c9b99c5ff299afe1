"""The harness's own errors. A failure in a measured process becomes a record, not an exception.

::

    BenchError              the harness cannot do what was asked; exit code 2
    ├── BuildError          a revision or its dependencies cannot be built or installed
    ├── ConfigError         the configuration is invalid
    ├── IncomparableError   runs were not measured alike; exit code 3
    ├── RecordError         a file of records cannot be read
    └── SampleError         a sample of a gate has no valid result (``bench.gate.rounds``)
"""

EXIT_OK, EXIT_MISSING, EXIT_HARNESS, EXIT_INCOMPARABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; something has no valid sample; the harness cannot do what was asked; the runs cannot be compared,
or the result is inconclusive; Ctrl-C. ``bench.programs`` says what they mean for each program."""

EXIT_REGRESSION = 1
"""For commands that compare: something got worse."""


class Ended(SystemExit):
    """Ends the program with a given exit code from within Hydra, which does not pass one on."""


class BenchError(Exception):
    """The harness cannot do what was asked.

    Attributes:
        exit_code: of a program that it ends.
    """

    exit_code = EXIT_HARNESS


class BuildError(BenchError):
    """A revision or its dependencies cannot be built or installed."""


class ConfigError(BenchError):
    """The configuration is invalid."""


class IncomparableError(BenchError):
    """The runs were not measured alike; exit code 3."""

    exit_code = EXIT_INCOMPARABLE


class RecordError(BenchError):
    """A file of records or a manifest cannot be read."""


def missing_extra(error: ModuleNotFoundError) -> str:
    """Return an error message that says how to install a missing package.

    Raises:
        ModuleNotFoundError: the error, if the package is one of ours.
    """
    if error.name is None or error.name.partition(".")[0] in {"bench", "loader"}:
        raise error
    return (
        f"the harness needs {error.name}, which is not installed. "
        "Install it with: python -m pip install 'optimized-embedding-loader[bench]'"
    )
