"""Cheap structural checks of weight files, before anything heavy is imported to read them.

The safetensors format: 8 bytes with the header's length N (little-endian), N bytes of JSON that name each tensor's
dtype, shape and byte range, then the data. A file that was cut off in transfer is found by comparing its size with the
highest byte that its header names (https://github.com/huggingface/safetensors#format).
"""

import json
import os

from .errors import ModelCorruptError, ModelNotFoundError, ModelUnsupportedError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself


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
    """Return ``weight_files(folder)`` after checking that each file is as long as its header says.

    Raises:
        ModelCorruptError: a file is truncated or has no readable header.
        ModelNotFoundError, ModelUnsupportedError: as ``weight_files``.
    """
    files = weight_files(folder)
    for path in files:
        _check_file(path)
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


def _check_file(path: str) -> None:
    def corrupt(what: str) -> ModelCorruptError:
        return ModelCorruptError(f"{path} is damaged: {what}. Delete it and fetch the model again.")

    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise corrupt(f"{size} bytes cannot hold a header of {length} bytes")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except OSError as error:
        raise corrupt(f"it cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise corrupt(f"its header makes no sense ({error!r})") from error
    if size != expected:
        raise corrupt(f"it has {size} bytes, its header describes {expected}")
