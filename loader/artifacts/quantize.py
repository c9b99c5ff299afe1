"""Weights of 8 bits: each row of a matrix becomes integers from -127 to 127 and one scale.

Symmetric round-to-nearest with a scale per output, as in section 3 of Wu et al. 2020, "Integer Quantization for Deep
Learning Inference" (https://arxiv.org/abs/2004.09602). Norms, biases and MPNet's attention bias stay float32: they are
small and sensitive.
"""

import json

import numpy as np

from ..encoder.weights import INTEGERS, SCALE
from ..errors import ModelUnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from ..encoder.families import EncoderConfig
    from ..safetensors import MappedTensors


def quantize(weight: "NDArray[np.float32]") -> "tuple[NDArray[np.int8], NDArray[np.float32]]":
    """Return the integers, shape (rows, columns), and the scale of each row, shape (rows,).

    Raises:
        ModelUnsupportedError: a weight is not finite.
    """
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    if not np.all(np.isfinite(scale)):
        raise ModelUnsupportedError("The model has weights that are not finite, so it cannot be quantized.")
    scale[scale == 0] = 1.0
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def write_quantized(tensors: "MappedTensors", config: "EncoderConfig", path: str) -> None:
    """Write the encoder's weights with 8 bits.

    Matrices are stored transposed, shape (in, out), as ONNX Runtime multiplies them; tables row by row.
    """
    family = config.family
    tables = ("embeddings.word_embeddings", "embeddings.position_embeddings")
    matrices = [
        family.layer.format(number) + family.parts[part]
        for number in range(config.layers)
        for part in ("query", "key", "value", "attention_output", "up", "down")
    ]
    prefix = family.prefix_in(tensors.names)
    stored: dict[str, NDArray[Any]] = {}
    for name in (*tables, *matrices):
        integers, scale = quantize(tensors.floats(f"{prefix}{name}.weight"))
        stored[f"{name}.{INTEGERS}"] = integers if name in tables else np.ascontiguousarray(integers.T)
        stored[f"{name}.{SCALE}"] = scale
    for full in tensors.names:
        name = full.removeprefix(prefix)
        if (
            full.startswith(prefix)
            and name.removesuffix(".weight") not in {*tables, *matrices}
            and family.is_used(name)
        ):
            stored[name] = tensors.floats(full)
    write_safetensors(path, stored)


def write_float32(tensors: "MappedTensors", config: "EncoderConfig", path: str) -> None:
    """Write the tensors that the encoder uses as float32."""
    prefix, family = config.family.prefix_in(tensors.names), config.family
    used = [name for name in tensors.names if family.is_used(name.removeprefix(prefix))]
    write_safetensors(path, {name: tensors.floats(name) for name in used})


def write_safetensors(path: str, arrays: "dict[str, NDArray[Any]]") -> None:
    """Write a safetensors file of float32 and int8 arrays; see ``loader.safetensors`` for the format.

    Float32 comes first, so that all of it is aligned whatever the sizes of the integers.
    """
    names = sorted(arrays, key=lambda name: (arrays[name].dtype != np.float32, name))
    header, position = {}, 0
    for name in names:
        array = arrays[name]
        dtype = {"float32": "F32", "int8": "I8"}[array.dtype.name]
        offsets = [position, position + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        position += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(arrays[name]).data)
