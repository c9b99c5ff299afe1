"""Finds a model's weight files and checks that they are complete, before anything heavy is imported to read them."""

import os

from ..errors import ModelCorruptError, ModelError, ModelNotFoundError, ModelUnsupportedError, lacking
from ..runtime.paths import at_once, other_writers
from ..runtime.plain_json import loads
from .safetensors import read_header

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def weight_files(folder: str) -> list[str]:
    """Return the absolute paths of the safetensors files of a model folder; all parts, if it is split.

    Raises:
        ModelNotFoundError: there are no weights.
        ModelUnsupportedError: the only weights are pickled, and reading those can run code.
        ModelCorruptError: the index names missing files or is damaged.
        ModelUnreadableError: the index cannot be read now.
    """
    single = os.path.join(folder, SINGLE)
    if os.path.exists(single):
        return [single]
    index = os.path.join(folder, INDEX)
    if os.path.exists(index):
        return _parts(folder, index)
    if is_pickled(folder):
        raise ModelUnsupportedError(
            f"{folder} has only pickled weights (pytorch_model.bin), and reading those can run code. Convert the model "
            f"once, and give the new folder as its name: python -m loader compile {folder} --output DIR"
        )
    raise ModelNotFoundError(f"{folder} has no weights: expected {SINGLE} or {INDEX}.")


def is_pickled(folder: str) -> bool:
    """Whether a folder has pickled weights, and no others."""
    others = any(os.path.exists(os.path.join(folder, name)) for name in (SINGLE, INDEX))
    return not others and any(os.path.exists(os.path.join(folder, name)) for name in PICKLED)


def check_weights(folder: str) -> list[str]:
    """Return ``weight_files(folder)`` after checking that each file matches its header.

    Raises:
        ModelCorruptError: a file is truncated, or its header is invalid; see ``loader.model.safetensors``.
        ModelNotFoundError, ModelUnreadableError, ModelUnsupportedError: as ``weight_files``.
    """
    files = weight_files(folder)
    for path in files:
        read_header(path)
    return files


def weight_writers(folder: str) -> str | None:
    """Return who else may write to a model's weights, see ``other_writers``; None if nobody, or if there are none."""
    try:
        return next(filter(None, (other_writers(os.stat(path)) for path in weight_files(folder))), None)
    except (ModelError, OSError):
        return None


def _parts(folder: str, index: str) -> list[str]:
    try:
        with open(index, "rb", opener=at_once) as file:
            names = sorted(set(loads(file.read())["weight_map"].values()))
        paths = [os.path.join(folder, os.path.basename(name)) for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        lack = lacking(index, error)
        raise lack or ModelCorruptError(f"{index} cannot be read: {error!r}. Fetch the model again.") from error
    missing = [path for path in paths if not os.path.exists(path)]
    if missing or not paths:
        raise ModelCorruptError(f"{index} names files that are missing: {missing}. Fetch the model again.")
    return paths
