"""The harness's own errors. What goes wrong in a measured process is a record, not one of these.

::

    BenchError              the harness cannot do what was asked; exit code 2
    ├── BuildError          a revision or its dependencies cannot be built or installed
    ├── ConfigError         the configuration makes no sense
    ├── IncomparableError   runs were not measured alike (``bench.conditions``); exit code 3
    ├── RecordError         a file of records cannot be read
    └── SampleError         a gate has a sample without a valid result (``bench.gate.rounds``)
"""

EXIT_OK, EXIT_MISSING, EXIT_HARNESS, EXIT_INCOMPARABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes of every command: measured; a cell has no valid sample; the harness cannot do what was asked; the runs
cannot be compared, or nothing can be said; Ctrl-C."""

EXIT_REGRESSION = 1
"""Of commands that compare: something got worse."""


class BenchError(Exception):
    """The harness cannot do what was asked."""


class BuildError(BenchError):
    """A revision or its dependencies cannot be built or installed."""


class ConfigError(BenchError):
    """The configuration makes no sense."""


class RecordError(BenchError):
    """A file of records or a manifest cannot be read."""


def missing_extra(error: ModuleNotFoundError) -> str:
    """Return what to install, for a package that is not there.

    Raises:
        ModuleNotFoundError: the error, if the package is one of ours.
    """
    if error.name is None or error.name.partition(".")[0] in {"bench", "loader"}:
        raise error
    return (
        f"the harness needs {error.name}, not installed here. "
        "Install it with: python -m pip install 'optimized-embedding-loader[bench]'"
    )
