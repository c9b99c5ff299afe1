"""Model names: which are valid, and which hub repositories they can mean."""

import os
import re

from ..errors import ArgumentTypeError, ModelNameError

DEFAULT_ORGANISATION = "sentence-transformers"

# The hub's own rule for repository names: huggingface_hub.utils.validate_repo_id.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"(?:{_PART}/)?{_PART}")
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SHOWN_CHARACTERS = 80


def shown(name: str) -> str:
    """Return a printable form of a name, of limited length, for messages."""
    text = ascii(name)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... ({len(name)} characters)"


def check_name(name: object) -> str:
    """Return the name as a string.

    Raises:
        ArgumentTypeError: not a string or path object.
        ModelNameError: empty, or with unprintable characters.
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
    """Whether the name is written as a path, so it is never looked up on a hub."""
    if name.startswith(("/", "~", "./", "../")) or name in {".", ".."}:
        return True
    return os.name == "nt" and (bool(_WINDOWS_DRIVE.match(name)) or name.startswith((".\\", "..\\", "\\")))


def repo_ids(name: str) -> tuple[str, ...]:
    """Return the hub repositories that the name can mean, in the order to try them.

    As in sentence-transformers, a name without an organisation is first tried as one of that library's own models.

    Raises:
        ModelNameError: it is not a valid hub name.
    """
    problem = ""
    if "--" in name or ".." in name:
        problem = "hub names cannot contain '--' or '..'"
    elif not _REPO_ID.fullmatch(name):
        problem = "hub names have letters, digits, '-', '_' and '.', at most one '/', and at most 96 characters a part"
    if problem:
        raise ModelNameError(
            f"{shown(name)} is not a model name: {problem}. To load a folder, give an existing path "
            "(absolute, or starting with './')."
        )
    return (name,) if "/" in name else (f"{DEFAULT_ORGANISATION}/{name}", name)
