"""The ``loader`` logger, silent by default, without importing ``logging``.

Importing ``logging`` costs 13 ms. A program that never imported it has no handler configured, so it misses nothing if
we stay silent.
"""

import sys


def is_heard() -> bool:
    """Whether the program has imported ``logging``."""
    return "logging" in sys.modules


def log(level: str, message: str, *args: object) -> None:
    """Log to the ``loader`` logger if the program has imported ``logging``; ``level`` is a method name like "info"."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "NullHandler"):
        return
    from ..exit_gate import GATE

    with GATE.idle():  # ``logging`` holds its lock around a fork, and the fork waits for us
        logger = logging.getLogger("loader")
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        getattr(logger, level)(message, *args)
