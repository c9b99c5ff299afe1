"""The weights of an encoder in one form common to all families."""

import numpy as np

from ..errors import ModelUnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model.safetensors import MappedTensors
    from .families import EncoderConfig, Family

    Floats = NDArray[np.float32]

INTEGERS = "weight.int8"
SCALE = "weight.scale"
"""With 8-bit weights, ``<name>.weight`` is two tensors: integers, and the scale of each row. Matrices are stored as
(in, out), tables as (rows, width)."""


class Linear:
    """A linear layer, y = W x + b, with one column of x per token."""

    __slots__ = ("bias", "weight")

    def __init__(self, weight: "Floats", bias: "Floats | None") -> None:
        """Take W of shape (out, in) and b of shape (out,)."""
        self.weight = weight
        self.bias = None if bias is None else bias[:, None]

    def __call__(self, x: "Floats") -> "Floats":
        """Return y of shape (out, tokens) for x of shape (in, tokens)."""
        y: Floats = self.weight @ x
        if self.bias is not None:
            y += self.bias
        return y


class QuantizedLinear(Linear):
    """A linear layer whose W is stored as 8-bit integers, each row with its own scale.

    W is expanded to float32 while it is used, so the sums are float32 sums. A text's vector does not depend on the rest
    of its batch, as it would if the numbers of a whole batch shared one scale.
    """

    __slots__ = ("scale",)

    def __init__(self, weight: "NDArray[np.int8]", scale: "Floats", bias: "Floats | None") -> None:
        """Take the integers of shape (in, out) and the scales of shape (out,)."""
        super().__init__(weight, bias)  # type: ignore[arg-type]
        self.scale = scale[:, None]

    def __call__(self, x: "Floats") -> "Floats":
        """Return y of shape (out, tokens) for x of shape (in, tokens)."""
        y: Floats = self.weight.astype(np.float32).T @ x
        y *= self.scale
        if self.bias is not None:
            y += self.bias
        return y


class Table:
    """An embedding table: a row for each number."""

    __slots__ = ("_rows", "_scale")

    def __init__(self, rows: "Floats | NDArray[np.int8]", scale: "Floats | None" = None) -> None:
        """Take rows of float32, or of integers with a scale for each."""
        self._rows = rows
        self._scale = scale

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, numbers: "NDArray[np.intp]") -> "Floats":
        """Return the rows of these numbers, shape (numbers, width), float32, writable."""
        if self._scale is None:
            picked: Floats = self._rows[numbers]  # type: ignore[assignment]
            return picked
        return self._rows[numbers] * self._scale[numbers, None]


class Norm:
    """The gain and shift of a layer normalisation, shape (width, 1) each."""

    __slots__ = ("gain", "shift")

    def __init__(self, gain: "Floats", shift: "Floats") -> None:
        self.gain = gain[:, None]
        self.shift = shift[:, None]


class Layer:
    """One layer of the encoder, with the names of ``loader.encoder.families``."""

    __slots__ = ("attention_norm", "attention_output", "down", "key", "output_norm", "query", "up", "value")

    def __init__(self, reader: "_Reader", prefix: str, config: "EncoderConfig") -> None:
        parts, width, inner = config.family.parts, config.width, config.inner
        self.query, self.key, self.value, self.attention_output = (
            reader.linear(prefix + parts[part], width, width) for part in ("query", "key", "value", "attention_output")
        )
        self.up = reader.linear(prefix + parts["up"], inner, width)
        self.down = reader.linear(prefix + parts["down"], width, inner)
        self.attention_norm = reader.norm(prefix + parts["attention_norm"], width)
        self.output_norm = reader.norm(prefix + parts["output_norm"], width)


class EncoderWeights:
    """All weights of an encoder.

    Attributes:
        words, positions: embedding tables.
        token_type: the vector of the only token type, or None.
        embedding_norm: the normalisation of the sum of the embeddings.
        layers: in order.
        relative_bias: MPNet's attention bias by bucket and head, shape (32, heads), or None.
    """

    __slots__ = ("embedding_norm", "layers", "positions", "relative_bias", "token_type", "words")

    def __init__(self, tensors: "MappedTensors", config: "EncoderConfig", folder: str) -> None:
        """Collect the weights.

        Raises:
            ModelUnsupportedError: a tensor is missing, has the wrong shape, or does not belong to the architecture.
        """
        family, width = config.family, config.width
        reader = _Reader(tensors, family, folder)
        self.words = reader.table("embeddings.word_embeddings", width)
        self.positions = reader.table("embeddings.position_embeddings", width, config.positions)
        self.token_type: Floats | None = None
        if family.has_token_types:
            self.token_type = reader.table("embeddings.token_type_embeddings", width)[np.zeros(1, np.intp)][0]
        self.embedding_norm = reader.norm("embeddings.LayerNorm", width)
        self.layers = [Layer(reader, family.layer.format(number), config) for number in range(config.layers)]
        self.relative_bias: Floats | None = None
        if family.relative_bias:
            self.relative_bias = reader.floats(family.relative_bias, (32, config.heads))
        reader.check_all_were_used()


class _Reader:
    """Takes tensors by their names without the family's prefix, and remembers which were taken."""

    def __init__(self, tensors: "MappedTensors", family: "Family", folder: str) -> None:
        self._tensors = tensors
        self._family = family
        self._folder = folder
        self._prefix = family.prefix_in(tensors.names)
        self._left = set(tensors.names)

    def floats(self, name: str, shape: tuple[int, ...]) -> "Floats":
        self._expect(name, shape)
        return self._tensors.floats(self._prefix + name)

    def linear(self, name: str, outputs: int, inputs: int) -> Linear:
        weight, bias = f"{name}.weight", self.floats(f"{name}.bias", (outputs,))
        if self._is_quantized(name):
            integers = self._integers(name, (inputs, outputs))
            return QuantizedLinear(integers, self.floats(f"{name}.{SCALE}", (outputs,)), bias)
        return Linear(self.floats(weight, (outputs, inputs)), bias)

    def table(self, name: str, width: int, rows: int | None = None) -> Table:
        """Return a table of ``rows`` rows, or of all there are."""
        if self._is_quantized(name):
            rows = rows or self._shape(f"{name}.{INTEGERS}")[0]
            return Table(self._integers(name, (rows, width)), self.floats(f"{name}.{SCALE}", (rows,)))
        rows = rows or self._shape(f"{name}.weight")[0]
        return Table(self.floats(f"{name}.weight", (rows, width)))

    def norm(self, name: str, width: int) -> Norm:
        return Norm(self.floats(f"{name}.weight", (width,)), self.floats(f"{name}.bias", (width,)))

    def check_all_were_used(self) -> None:
        """Reject a model with unused parts: leaving them out could give wrong vectors."""
        unknown = sorted(name for name in self._left if self._family.is_used(name.removeprefix(self._prefix)))
        if unknown:
            raise ModelUnsupportedError(
                f"{self._folder} has weights that its architecture does not have, such as {unknown[0]!a} "
                f"({len(unknown)} in all). Use engine='sentence_transformers'."
            )

    def _integers(self, name: str, shape: tuple[int, ...]) -> "NDArray[np.int8]":
        self._expect(f"{name}.{INTEGERS}", shape)
        return self._tensors.bytes8(f"{self._prefix}{name}.{INTEGERS}")

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
