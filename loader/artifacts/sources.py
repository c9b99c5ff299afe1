"""Which files an artifact depends on: when one of them changes, it is another model."""

import os

from ..filehash import remembered_sha256
from .manifest import FILE, FileEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..pipeline import Pipeline

SMALL_FILES: "Final" = (".json", ".txt", ".model")
"""Endings of the files that describe a model and its tokenizer."""


def source_files(pipeline: "Pipeline") -> tuple[FileEntry, ...]:
    """Return what an artifact depends on: the description of model and tokenizer, and all weights, with their hashes.

    Raises:
        ModelError: the weights are missing.
    """
    entries = {}
    for folder in (pipeline.folder, pipeline.transformer, *pipeline.folders):
        if not os.path.isdir(folder):
            continue
        names = [name for name in os.listdir(folder) if name.endswith((*SMALL_FILES, ".safetensors")) and name != FILE]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and name != "README.md":
                relative = os.path.relpath(path, pipeline.folder).replace(os.sep, "/")
                entries[relative] = FileEntry(relative, os.stat(path).st_size, remembered_sha256(path))
    return tuple(entries[name] for name in sorted(entries))
