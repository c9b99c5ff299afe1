"""The ``loader`` logger, silent by default, without importing ``logging``.

Importing ``logging`` costs 13 ms. A program that never imported it has configured no handler either, so nothing it
could see is lost when we stay silent then.
"""

import sys


def is_heard() -> bool:
    """Whether the program uses ``logging`` at all."""
    return "logging" in sys.modules


def log(level: str, message: str, *args: object) -> None:
    """Log to the ``loader`` logger if the program uses ``logging`` at all; ``level`` is a method name like "info"."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "NullHandler"):
        return
    logger = logging.getLogger("loader")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    getattr(logger, level)(message, *args)
