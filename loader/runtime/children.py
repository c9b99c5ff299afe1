"""Starting another process of this interpreter."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PYTHON: "Final" = (sys.executable, "-P")
"""This interpreter, told not to import modules from the current folder."""


def child_environment() -> dict[str, str]:
    """Return the environment of a child process that imports what this process imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
