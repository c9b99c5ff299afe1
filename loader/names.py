"""Model names: what a user may write, and which hub repositories it can mean."""

import os
import re

from .errors import ArgumentTypeError, ModelNameError

DEFAULT_ORGANISATION = "sentence-transformers"

# The hub's own rule for repository names: huggingface_hub.utils.validate_repo_id.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"(?:{_PART}/)?{_PART}")
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SHOWN_CHARACTERS = 80


def shown(name: str) -> str:
    """Return a printable, bounded form of a name for messages."""
    text = ascii(name)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... ({len(name)} characters)"


def check_name(name: object) -> str:
    """Return the name as a string.

    Raises:
        ArgumentTypeError: not a string or path object.
        ModelNameError: empty, or holding characters that no file and no hub name can have.
    """
    if isinstance(name, os.PathLike):
        name = os.fspath(name)
    if not isinstance(name, str):
        raise ArgumentTypeError(f"model_name must be a string or a path, not {type(name).__name__}")
    if not name.strip() or not name.isprintable():
        raise ModelNameError(
            f"{shown(name)} is not a model name: it is empty or has unprintable characters. "
            "Give a folder, or a hub name such as 'all-MiniLM-L6-v2' or 'organisation/model'."
        )
    return name


def is_path(name: str) -> bool:
    """Whether the name is written as a path, so that no hub is asked for it."""
    if name.startswith(("/", "~", "./", "../")) or name in {".", ".."}:
        return True
    return os.name == "nt" and (bool(_WINDOWS_DRIVE.match(name)) or name.startswith((".\\", "..\\", "\\")))


def repo_ids(name: str) -> tuple[str, ...]:
    """Return the hub repositories that the name can mean, in the order to try them.

    A name without an organisation means one of sentence-transformers' own models first, as it does in that library.

    Raises:
        ModelNameError: the hub could not have a repository of this name.
    """
    problem = ""
    if "--" in name or ".." in name:
        problem = "hub names cannot contain '--' or '..'"
    elif not _REPO_ID.fullmatch(name):
        problem = "hub names are letters, digits, '-', '_' and '.', with at most one '/' and 96 characters a part"
    if problem:
        raise ModelNameError(
            f"{shown(name)} is not a model name: {problem}. To load a folder, write a path that exists "
            "(absolute, or starting with './')."
        )
    return (name,) if "/" in name else (f"{DEFAULT_ORGANISATION}/{name}", name)
