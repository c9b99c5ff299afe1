"""Model names: which are valid, and which hub repositories they can mean."""

import os

from ..errors import ArgumentTypeError, ModelNameError

DEFAULT_ORGANISATION = "sentence-transformers"

# The hub's own rule for repository names: huggingface_hub.utils.validate_repo_id.
_INSIDE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_MAX_CHARACTERS = 96
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
    if os.name != "nt":
        return False
    drive = name[:1].isascii() and name[:1].isalpha() and name[1:2] == ":" and name[2:3] in {"\\", "/"}
    return drive or name.startswith((".\\", "..\\", "\\"))


def repo_ids(name: str) -> tuple[str, ...]:
    """Return the hub repositories that the name can mean, in the order to try them.

    As in sentence-transformers, a name without an organisation is first tried as one of that library's own models.

    Raises:
        ModelNameError: it is not a valid hub name.
    """
    problem = ""
    if "--" in name or ".." in name:
        problem = "hub names cannot contain '--' or '..'"
    elif name.count("/") > 1 or not all(map(_is_part, name.split("/"))):
        problem = "hub names have letters, digits, '-', '_' and '.', at most one '/', and at most 96 characters a part"
    if problem:
        raise ModelNameError(
            f"{shown(name)} is not a model name: {problem}. To load a folder, give an existing path "
            "(absolute, or starting with './')."
        )
    return (name,) if "/" in name else (f"{DEFAULT_ORGANISATION}/{name}", name)


def _is_part(part: str) -> bool:
    """Whether this is a valid organisation or repository: without a regular expression, which would import ``re``."""
    return (
        0 < len(part) <= _MAX_CHARACTERS and _INSIDE.issuperset(part) and part[0] not in ".-" and part[-1] not in ".-"
    )
