"""The prepared tokenizers of this user, which are kept among the artifacts; ``background`` has them made.

A tokenizer's artifact holds its tables, or the reason why there are none. It is found by the hashes of all files that
decide how texts become tokens. Those are remembered; where they are not, as in an image that was made on another
machine, the files are hashed if there are any tokenizers at all.
"""

import os
import sys

from ..artifacts import is_artifact, store
from ..artifacts.manifest import read_manifest, verify_artifact
from ..errors import ArtifactError, ModelUnreadableError
from ..model.config_files import TRANSFORMER_SETTINGS
from ..model.file_hash import recall_sha256, remembered_sha256
from ..runtime.log import log
from ..version import __version__
from .prepared import FORMAT, Prepared, stamp
from .wordpiece import NotUnderstood

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

KIND: "Final" = "tokenizer"
"""The precision of an artifact that is a tokenizer."""
TABLES: "Final" = "tokens.bin"
REASON: "Final" = "reason.txt"
UNFINISHED: "Final" = "preparing it did not end"
_SOURCES: "Final" = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
    *TRANSFORMER_SETTINGS,
)
"""What decides how texts become tokens, and whether we may do it; see ``tokenizer_settings``."""
_PATIENCE_S: "Final" = 24 * 3600.0
"""After so many seconds, what did not end is tried again."""


def source_names(folder: str) -> list[str]:
    """Return the names of the files in a transformer's folder that decide how texts become tokens."""
    return [name for name in _SOURCES if os.path.isfile(os.path.join(folder, name))]


def name_of(hashes: list[str], *, is_static: bool) -> str:
    """Return the name of the artifact of a tokenizer whose files have these hashes.

    It does not matter how the digits come about, as long as other files give others; importing a hash function would
    take as long as opening the tables.
    """
    digits = FORMAT + 2 * is_static + 4 * sys.version_info[1] + int.from_bytes(__version__.encode(), "big")
    for place, digest in enumerate(hashes, 1):
        digits += place * int(digest[:16], 16)
    return f"{KIND}--{KIND}--{digits % 16**12:012x}"


def find_prepared(folder: str, *, is_static: bool) -> "Prepared | str | None":
    """Return the prepared tokenizer of a transformer's folder, or why there is none, or None if nobody has tried yet.

    Args:
        folder: where tokenizer.json is.
        is_static: whether the model is a static one.
    """
    if not _has_kernel():
        return "the compiled kernel is missing"
    names = source_names(folder)
    try:
        paths = [os.path.join(folder, name) for name in names]
        recalled = [recall_sha256(path) for path in paths]
        if None in recalled and not _has_any():
            return None
        hashes = [digest or remembered_sha256(path) for digest, path in zip(recalled, paths, strict=True)]
        place = os.path.join(store.root(), name_of(hashes, is_static=is_static))
        if not is_artifact(place):
            return None
        manifest = read_manifest(place)
        if [(entry.name, entry.sha256) for entry in manifest.source] != list(zip(names, hashes, strict=True)):
            return None
        verify_artifact(place, manifest)
        found = _open(place)
    except (ArtifactError, ModelUnreadableError, OSError) as error:
        log("warning", "Not using a prepared tokenizer: %s", error)
        return None
    except NotUnderstood:
        return None  # of another version
    if found is not None:
        store.note_use(place)
    return found


def _has_kernel() -> bool:
    try:
        from .._native import Tokens  # noqa: F401 - a kernel of an earlier version has none
    except ImportError:
        return False
    return True


def _has_any() -> bool:
    """Whether the store has a tokenizer of any model."""
    try:
        return any(name.startswith(f"{KIND}--{KIND}--") for name in os.listdir(store.root()))
    except OSError:
        return False


def _open(place: str) -> "Prepared | str | None":
    path = os.path.join(place, TABLES)
    if not os.path.isfile(path):
        with open(os.path.join(place, REASON), encoding="utf-8") as file:
            reason = file.read(1000)
        return None if reason == UNFINISHED and _is_old(place) else reason
    from mmap import ACCESS_READ, mmap

    with open(path, "rb", buffering=0) as file:
        prepared = Prepared(mmap(file.fileno(), 0, access=ACCESS_READ))
    return prepared if _is_same_library(prepared.settings["library"]) else None


def _is_old(place: str) -> bool:
    import time

    return time.time() - os.stat(os.path.join(place, REASON)).st_mtime > _PATIENCE_S


def _is_same_library(recorded: "list[Any]") -> bool:
    """Whether the library that the tables agree with is the one that is installed."""
    path, *_, version = recorded
    try:
        if stamp(path) == recorded[:-1]:
            return True
    except OSError:
        pass
    from importlib import metadata

    try:
        return bool(metadata.version("tokenizers") == version)
    except metadata.PackageNotFoundError:
        return False
