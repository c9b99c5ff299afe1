"""8-bit weights: each row of a matrix becomes integers from -127 to 127 and one scale.

Symmetric round-to-nearest with a scale per output, as in section 3 of Wu et al. 2020, "Integer Quantization for Deep
Learning Inference" (https://arxiv.org/abs/2004.09602). Norms, biases and MPNet's attention bias stay float32: they are
small and sensitive.

Integers that are multiplied by integers are bounded, so that every processor gives the same sums. x86 processors
without VNNI multiply bytes with an instruction (PMADDUBSW) that adds two neighbouring products in 16 bits and
saturates: 255 * 127 + 255 * 127 becomes 32,767. ONNX Runtime lays weights out in groups of four inputs, so a product's
neighbour is in its group. If no two weights of the same sign in a group add up to more than 128, no sum exceeds
255 * 128 = 32,640. See docs/decisions/0015-eight-bits-on-every-processor.md.
"""

import json

import numpy as np

from ..encoder.reader import INTEGERS, SCALE
from ..errors import ModelUnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from numpy.typing import NDArray

    from ..encoder.families import EncoderConfig
    from ..model.safetensors import MappedTensors

GROUP: "Final" = 4
"""Columns whose products one instruction may add, from the first column on."""


def quantize_table(weight: "NDArray[np.float32]") -> "tuple[NDArray[np.int8], NDArray[np.float32]]":
    """Return the integers of a lookup table, shape (rows, columns), and each row's scale, (rows,).

    Raises:
        ModelUnsupportedError: a weight is not finite.
    """
    return _quantize(weight, np.abs(weight).max(axis=1))


def quantize_matrix(weight: "NDArray[np.float32]") -> "tuple[NDArray[np.int8], NDArray[np.float32]]":
    """Return the integers of a matrix for multiplication, shape (rows, columns), and each row's scale, (rows,).

    Any two of the same sign in a group of ``GROUP`` columns add up to at most 128: 127, plus half a unit of rounding
    each.

    Raises:
        ModelUnsupportedError: a weight is not finite.
    """
    return _quantize(weight, np.maximum(_largest_pair(weight), _largest_pair(-weight)))


def _quantize(
    weight: "NDArray[np.float32]", largest: "NDArray[np.float32]"
) -> "tuple[NDArray[np.int8], NDArray[np.float32]]":
    """Return integers and scales that map ``largest``, shape (rows,), to 127."""
    scale = largest / np.float32(127)
    if not np.all(np.isfinite(scale)):
        raise ModelUnsupportedError("The model has weights that are not finite, so it cannot be quantized.")
    scale[scale < np.finfo(np.float32).tiny] = 1.0  # all 0, or so small that a scale would be off by more than rounding
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def _largest_pair(weight: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return each row's largest sum of two positive weights in a group, or its largest weight: shape (rows,)."""
    rows, columns = weight.shape
    padded = np.zeros((rows, columns + -columns % GROUP), np.float32)
    np.maximum(weight, 0.0, out=padded[:, :columns])
    groups = np.partition(padded.reshape(rows, -1, GROUP), GROUP - 2, axis=2)
    largest: NDArray[np.float32] = groups[:, :, GROUP - 2 :].sum(axis=2).max(axis=1)
    return largest


def write_quantized(tensors: "MappedTensors", config: "EncoderConfig", path: str) -> None:
    """Write the encoder's weights in 8 bits.

    Matrices are stored transposed, shape (in, out), as ONNX Runtime multiplies them; tables are stored row by row.
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

    def floats(name: str) -> "NDArray[np.float32]":
        return tensors.floats(f"{prefix}{name}.weight")

    for name in tables:
        stored[f"{name}.{INTEGERS}"], stored[f"{name}.{SCALE}"] = quantize_table(floats(name))
    for name in matrices:
        integers, stored[f"{name}.{SCALE}"] = quantize_matrix(floats(name))
        stored[f"{name}.{INTEGERS}"] = np.ascontiguousarray(integers.T)
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
    """Write a safetensors file of float32 and int8 arrays; see ``loader.model.safetensors`` for the format.

    Float32 comes first, so that it is aligned whatever the sizes of the integers.
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
