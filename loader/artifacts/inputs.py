"""Which files an artifact depends on: if one of them changes, it is a different model."""

import os

from ..errors import ModelCorruptError, ModelError, lacking
from ..model.file_hash import remembered_sha256
from . import FILE
from .manifest import FileEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..model.pipeline import Pipeline

SMALL_FILES: "Final" = (".json", ".txt", ".model")
"""Extensions of the files that describe a model and its tokenizer."""


def source_files(pipeline: "Pipeline") -> tuple[FileEntry, ...]:
    """Return the files that an artifact depends on, with hashes: descriptions of model and tokenizer, and all weights.

    Raises:
        ModelError: the weights are missing, or a file cannot be read.
    """
    entries = {}
    for folder in (pipeline.folder, pipeline.transformer, *pipeline.folders):
        for path in _paths(folder) if os.path.isdir(folder) else ():
            relative = os.path.relpath(path, pipeline.folder).replace(os.sep, "/")
            entries[relative] = _entry(relative, path)
    return tuple(entries[name] for name in sorted(entries))


def _paths(folder: str) -> list[str]:
    """Return the relevant files of one folder."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise _unread(folder, error) from error
    wanted = [name for name in names if name.endswith((*SMALL_FILES, ".safetensors")) and name != FILE]
    paths = [os.path.join(folder, name) for name in wanted if name != "README.md"]
    return [path for path in paths if os.path.isfile(path)]


def _entry(name: str, path: str) -> FileEntry:
    try:
        return FileEntry(name, os.stat(path).st_size, remembered_sha256(path))
    except (OSError, MemoryError) as error:
        raise _unread(path, error) from error


def _unread(path: str, error: OSError | MemoryError) -> ModelError:
    return lacking(path, error) or ModelCorruptError(f"{path} cannot be read: {error}. Fetch the model again.")
