"""Takes an encoder's weights out of a model's files: which tensors there must be, and of which shape.

What a tensor becomes is the engine's business: an array for NumPy, a piece of mapped memory for the native kernel.
"""

import os

from ..errors import ModelCorruptError, ModelUnsupportedError
from ..model.safetensors import MappedTensors
from ..model.weight_files import PICKLED, SINGLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..model.pipeline import Pipeline
    from .families import EncoderConfig

    Tensor = Any  # an array or a piece of memory; one reader has one kind
    Weight = Tensor | tuple[Tensor, Tensor | str]
    """A matrix or a table: float32, or 8-bit integers and the scale of each row. A table of the kernel's may also be
    one of 16-bit numbers with the name of their type."""
    Reading = Callable[[MappedTensors, str], Tensor]
    """Returns a tensor of a file, by its name."""

INTEGERS = "weight.int8"
SCALE = "weight.scale"
"""With 8-bit weights, ``<name>.weight`` is two tensors: integers, and the scale of each row. Matrices are stored as
(in, out), tables as (rows, width)."""


class WeightReader:
    """Takes tensors by their names without the family's prefix, and remembers which were taken.

    Args:
        tensors: the files.
        config: the encoder.
        folder: the model's folder, for messages.
        floats: reads a tensor as float32.
        integers: reads one of 8-bit integers.
        tables: reads a table of vectors; by default as ``floats`` does.
    """

    def __init__(
        self,
        tensors: MappedTensors,
        config: "EncoderConfig",
        folder: str,
        floats: "Reading",
        integers: "Reading",
        tables: "Reading | None" = None,
    ) -> None:
        self._tensors = tensors
        self._config = config
        self._folder = folder
        self._read_floats = floats
        self._read_integers = integers
        self._read_table = tables or floats
        self._prefix = config.family.prefix_in(tensors.names)
        self._left = set(tensors.names)

    def embeddings(self) -> "tuple[Weight, Weight, Weight | None, Tensor, Tensor]":
        """Return the tables of words, positions and token types (or None), and the gain and shift of their norm.

        Raises:
            ModelUnsupportedError: a tensor is missing or has the wrong shape. So do all methods here.
        """
        width, family = self._config.width, self._config.family
        return (
            self._table("embeddings.word_embeddings", width),
            self._table("embeddings.position_embeddings", width, self._config.positions),
            self._table("embeddings.token_type_embeddings", width) if family.has_token_types else None,
            *self._norm("embeddings.LayerNorm", width),
        )

    def relative_bias(self) -> "Tensor | None":
        """Return MPNet's attention bias by bucket and head, shape (32, heads), or None."""
        name = self._config.family.relative_bias
        return self._floats(name, (32, self._config.heads)) if name else None

    def layer(self, number: int) -> "tuple[Any, ...]":
        """Return the weights of a layer, in the order of computing.

        Weight and bias of query, key, value and attention_output; gain and shift of attention_norm; weight and bias of
        up and down; gain and shift of output_norm.
        """
        parts, width, inner = self._config.family.parts, self._config.width, self._config.inner
        prefix = self._config.family.layer.format(number)
        attention = (
            self._linear(prefix + parts[part], width, width) for part in ("query", "key", "value", "attention_output")
        )
        return (
            *(tensor for linear in attention for tensor in linear),
            *self._norm(prefix + parts["attention_norm"], width),
            *self._linear(prefix + parts["up"], inner, width),
            *self._linear(prefix + parts["down"], width, inner),
            *self._norm(prefix + parts["output_norm"], width),
        )

    def check_all_were_used(self) -> None:
        """Reject a model with unused parts: leaving them out could give wrong vectors."""
        family = self._config.family
        unknown = sorted(name for name in self._left if family.is_used(name.removeprefix(self._prefix)))
        if unknown:
            raise ModelUnsupportedError(
                f"{self._folder} has weights that its architecture does not have, such as {unknown[0]!a} "
                f"({len(unknown)} in all). Use engine='sentence_transformers'."
            )

    def _linear(self, name: str, outputs: int, inputs: int) -> "tuple[Weight, Tensor]":
        return self._weight(name, (outputs, inputs), (inputs, outputs)), self._floats(f"{name}.bias", (outputs,))

    def _table(self, name: str, width: int, rows: int | None = None) -> "Weight":
        """Return a table of ``rows`` rows, or of all there are."""
        rows = rows or self._shape(f"{name}.{INTEGERS if self._is_quantized(name) else 'weight'}")[0]
        if self._is_quantized(name):
            return self._weight(name, (rows, width), (rows, width))
        self._expect(f"{name}.weight", (rows, width))
        return self._read_table(self._tensors, f"{self._prefix}{name}.weight")

    def _norm(self, name: str, width: int) -> "tuple[Tensor, Tensor]":
        return self._floats(f"{name}.weight", (width,)), self._floats(f"{name}.bias", (width,))

    def _weight(self, name: str, shape: tuple[int, int], stored: tuple[int, int]) -> "Weight":
        """Return a matrix or table: the shape as float32, and as integers."""
        if not self._is_quantized(name):
            return self._floats(f"{name}.weight", shape)
        integers = f"{name}.{INTEGERS}"
        self._expect(integers, stored)
        return (
            self._read_integers(self._tensors, self._prefix + integers),
            self._floats(f"{name}.{SCALE}", shape[:1]),
        )

    def _floats(self, name: str, shape: tuple[int, ...]) -> "Tensor":
        self._expect(name, shape)
        return self._read_floats(self._tensors, self._prefix + name)

    def _is_quantized(self, name: str) -> bool:
        return f"{self._prefix}{name}.{SCALE}" in self._tensors.names

    def _shape(self, name: str) -> tuple[int, ...]:
        try:
            return self._tensors.shape(self._prefix + name)
        except KeyError:
            raise ModelUnsupportedError(
                f"{self._folder} has no tensor {self._prefix + name!a}, which its architecture needs. "
                "Use engine='sentence_transformers'."
            ) from None

    def _expect(self, name: str, shape: tuple[int, ...]) -> None:
        found = self._shape(name)
        if found != shape:
            raise ModelUnsupportedError(
                f"{self._folder}: the tensor {self._prefix + name!a} has shape {found}, but config.json says {shape}."
            )
        self._left.discard(self._prefix + name)


class DenseWeights:
    """The Dense layers of a model.

    Attributes:
        layers: for each, its weight (out, in), its bias (out,) or None, and the name of its activation.
        dimension: length of the vectors after them.
        files: what their weights are in.
    """

    def __init__(self, pipeline: "Pipeline", width: int, floats: "Reading") -> None:
        """Read the weights, if there are any.

        Raises:
            ModelCorruptError: they are damaged, or their shapes do not match.
            ModelUnsupportedError: they are not stored as safetensors.
        """
        self.dimension = width * len(pipeline.pooling)
        self.layers: list[tuple[Tensor, Tensor | None, str]] = []
        self.files: list[MappedTensors] = []
        for dense in pipeline.dense:
            path = os.path.join(dense.folder, SINGLE)
            if not os.path.exists(path) and os.path.exists(os.path.join(dense.folder, PICKLED[0])):
                raise ModelUnsupportedError(f"{dense.folder} has its weights only in {PICKLED[0]}, which can run code.")
            tensors = MappedTensors([path])
            self.files.append(tensors)
            wanted = {"linear.weight", "linear.bias"} if dense.bias else {"linear.weight"}
            if tensors.names != wanted or tensors.shape("linear.weight")[1:] != (self.dimension,):
                raise ModelCorruptError(
                    f"{path} holds {sorted(tensors.names)}, but a layer of {self.dimension} inputs with "
                    f"{sorted(wanted)} is needed. Fetch the model again."
                )
            self.dimension = tensors.shape("linear.weight")[0]
            if dense.bias and tensors.shape("linear.bias") != (self.dimension,):
                raise ModelCorruptError(
                    f"{path}: linear.bias has shape {tensors.shape('linear.bias')}, not {(self.dimension,)}."
                )
            bias = floats(tensors, "linear.bias") if dense.bias else None
            self.layers.append((floats(tensors, "linear.weight"), bias, dense.activation))
