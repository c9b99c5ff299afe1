"""The harness's own errors. What goes wrong in a measured process is a record, not one of these.

::

    BenchError              the harness cannot do what was asked; exit code 2
    ├── ConfigError         the configuration makes no sense
    └── RecordError         a file of records cannot be read
"""


class BenchError(Exception):
    """The harness cannot do what was asked."""


class ConfigError(BenchError):
    """The configuration makes no sense."""


class RecordError(BenchError):
    """A file of records or a manifest cannot be read."""
