"""Which files hold a model's weights, and whether they are whole, before anything heavy is imported to read them."""

import json
import os

from .errors import ModelCorruptError, ModelNotFoundError, ModelUnsupportedError
from .safetensors import read_header

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def weight_files(folder: str) -> list[str]:
    """Return the absolute paths of the safetensors files of a model folder; the parts, where it is split.

    Raises:
        ModelNotFoundError: no weights at all.
        ModelUnsupportedError: only pickled weights, which can run code when they are read.
        ModelCorruptError: an index that names missing files or cannot be read.
    """
    single = os.path.join(folder, SINGLE)
    if os.path.exists(single):
        return [single]
    index = os.path.join(folder, INDEX)
    if os.path.exists(index):
        return _parts(folder, index)
    if any(os.path.exists(os.path.join(folder, name)) for name in PICKLED):
        raise ModelUnsupportedError(
            f"{folder} has pickled weights only (pytorch_model.bin). Reading them can run code, so they are refused: "
            "convert the model to safetensors first, for instance with model.save_pretrained(folder)."
        )
    raise ModelNotFoundError(f"{folder} has no weights: expected {SINGLE} or {INDEX}.")


def check_weights(folder: str) -> list[str]:
    """Return ``weight_files(folder)`` after checking that each file is what its header says.

    Raises:
        ModelCorruptError: a file is truncated, or its header makes no sense; see ``loader.safetensors``.
        ModelNotFoundError, ModelUnsupportedError: as ``weight_files``.
    """
    files = weight_files(folder)
    for path in files:
        read_header(path)
    return files


def _parts(folder: str, index: str) -> list[str]:
    try:
        with open(index, "rb") as file:
            names = sorted(set(json.load(file)["weight_map"].values()))
        paths = [os.path.join(folder, os.path.basename(name)) for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelCorruptError(f"{index} cannot be read: {error!r}. Fetch the model again.") from error
    missing = [path for path in paths if not os.path.exists(path)]
    if missing or not paths:
        raise ModelCorruptError(f"{index} names files that are missing: {missing}. Fetch the model again.")
    return paths
