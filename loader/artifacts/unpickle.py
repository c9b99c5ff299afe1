"""Pickled weights as safetensors: a copy of a model's folder that every engine can open.

Reading a pickle can run code. So it happens in the child process of ``build``, and only as PyTorch's ``weights_only``
allows: tensors, and the containers around them.
"""

import os
import shutil

from ..errors import CompileError, EngineMissingError
from ..model.config_files import mapping, module_folders, read_json
from ..model.weight_files import PICKLED, SINGLE, is_pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LEFT_OUT = (*PICKLED, "pytorch_model-*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "openvino", ".git")
"""Weights in other forms are not copied."""


def convert(source: str, target: str, report: "Callable[[str, float], None]") -> None:
    """Copy a model's folder into an empty one, with its pickled weights as safetensors.

    Raises:
        EngineMissingError: PyTorch is missing.
        CompileError: a file holds something else than tensors, or is damaged.
        OSError: the target cannot be written.
    """
    try:
        import torch  # noqa: F401 - before anything is copied
        from safetensors.torch import save_file
    except ImportError as error:
        raise EngineMissingError(
            f"Converting pickled weights needs PyTorch: python -m pip install 'optimized-embedding-loader[compile]' "
            f"({error})"
        ) from error
    report("copying the model", 0.0)
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    folders = [folder for folder in module_folders(source) if os.path.isdir(folder) and is_pickled(folder)]
    for number, folder in enumerate(folders):
        report("converting pickled weights", 0.1 + 0.8 * number / len(folders))
        place = os.path.join(target, os.path.relpath(folder, source), SINGLE)
        save_file(_tensors_of(folder), place, metadata={"format": "pt"})


def _tensors_of(folder: str) -> "dict[str, Any]":
    """Return the tensors of a folder's pickled weights, each in memory of its own."""
    import torch

    single, index = PICKLED
    names = [single]
    if not os.path.exists(os.path.join(folder, single)):
        parts = mapping(read_json(folder, index), folder, index).get("weight_map")
        names = sorted({os.path.basename(str(name)) for name in mapping(parts, folder, index).values()})
    tensors: dict[str, Any] = {}
    for name in names:
        path = os.path.join(folder, name)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged or hostile file makes of it
            reason = str(error).partition("\n")[0]
            raise CompileError(f"{path} cannot be read as tensors alone: {type(error).__name__}: {reason}") from error
        if not isinstance(found, dict) or not all(
            isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in found.items()
        ):
            raise CompileError(f"{path} holds something else than tensors by their names.")
        tensors |= {key: tensor.detach().clone().contiguous() for key, tensor in found.items()}
    if not tensors:
        raise CompileError(f"{folder}: {index} names no files.")
    return tensors
