"""Having a tokenizer prepared by another process, and saying whether it is."""

import os
import sys

from ..artifacts import store
from ..model.config_files import read_facts, transformer_folder
from ..runtime.children import PYTHON, child_environment
from ..runtime.log import log
from . import LIBRARY_VARIABLE
from .kept import find_prepared
from .wordpiece import searched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NOT_YET: "Final" = "the library tokenizers, until it is prepared after the first text"
"""What ``state_of`` returns if nobody has tried to prepare it."""


def state_of(folder: str) -> str:
    """Return how the texts of a model become tokens in the next process, in words.

    Args:
        folder: the model's folder.

    Raises:
        ModelCorruptError: a file is damaged.
    """
    facts, transformer = read_facts(folder), transformer_folder(folder)
    path = os.path.join(transformer, "tokenizer.json")
    if not os.path.isfile(path):
        return "the model's own, in PyTorch: there is no tokenizer.json"
    if os.environ.get(LIBRARY_VARIABLE) == "library":
        return f"the library tokenizers, as {LIBRARY_VARIABLE} says"
    if searched(path) is not None:
        return "WordPiece, searched in tokenizer.json"
    found = find_prepared(transformer, is_static=facts.is_static)
    if isinstance(found, str):
        return f"the library tokenizers: {found}"
    if found is not None:
        return "prepared"
    return NOT_YET


def prepare_now(folder: str, name: str) -> None:
    """Prepare the tokenizer of a model's folder in a process of its own, and wait for it. Arguments as below."""
    import subprocess

    subprocess.run(  # noqa: S603 - our own interpreter
        _command(folder, name), env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def start_preparing(folder: str, name: str) -> None:
    """Have a process of its own prepare the tokenizer of a model's folder. Returns at once.

    It goes on when this process ends, at low priority, and takes seconds. Where no process can be started, or nothing
    can be kept, nothing happens: the library can do everything that the tables can.

    Args:
        folder: the model's folder.
        name: the model's name, to be shown.
    """
    if not _can_start() or not _can_keep():
        return
    # A shell, which ends at once: its child is then no child of this process, and nobody here has to wait for it.
    command = ["sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh", *_command(folder, name)]
    try:
        os.waitpid(os.posix_spawn("/bin/sh", command, child_environment(), setsid=True), 0)
    except ChildProcessError:
        pass  # the program waits for all its children
    except (OSError, NotImplementedError) as error:
        log("info", "No process can prepare the tokenizer: %s", error)
    else:
        log("info", "A process in the background prepares the tokenizer of %s", name)


def _command(folder: str, name: str) -> list[str]:
    return [*PYTHON, "-m", "loader.text.preparing", folder, name]


def _can_start() -> bool:
    """Whether another process of this interpreter can be started; a program that embeds Python is no interpreter."""
    is_python = "python" in os.path.basename(sys.executable or "").lower() and not getattr(sys, "frozen", False)
    return is_python and hasattr(os, "posix_spawn")


def _can_keep() -> bool:
    """Whether the store, or the folder in which it would be made, can be written to."""
    folder = store.root()
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK)
