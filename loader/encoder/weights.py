"""The weights of an encoder in one form common to all families."""

import numpy as np

from ..model.safetensors import MappedTensors
from .reader import WeightReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from .families import EncoderConfig
    from .reader import Weight

    Floats = NDArray[np.float32]


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
    """A linear layer in 8 bits: W is stored as integers, each row with its own scale, and so are the tokens of x used.

    Each token's numbers become integers of its own scale, so a text's vector does not depend on the rest of its batch.
    ``native/eight.h`` multiplies the same and explains it. Here the integers are float32: their sums are almost exact,
    and faster.
    """

    __slots__ = ("scale",)

    def __init__(self, weight: "NDArray[np.int8]", scale: "Floats", bias: "Floats | None") -> None:
        """Take the integers of shape (in, out) and the scales of shape (out,)."""
        super().__init__(weight, bias)  # type: ignore[arg-type]
        self.scale = scale[:, None]

    def __call__(self, x: "Floats") -> "Floats":
        """Return y of shape (out, tokens) for x of shape (in, tokens)."""
        integers, scales = integers_of(x)
        y: Floats = self.weight.astype(np.float32).T @ integers
        y *= self.scale * scales
        if self.bias is not None:
            y += self.bias
        return y


def integers_of(x: "Floats") -> "tuple[Floats, Floats]":
    """Return each column of x as whole numbers, and their scales, shape (tokens,).

    The numbers of a column, 0 included, span 254 units. A column that is not finite has a scale that is no number.
    """
    span = np.maximum(x.max(axis=0), 0.0) - np.minimum(x.min(axis=0), 0.0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        inverse = np.where(span >= np.float32(1e-30), np.float32(254.0) / span, np.float32(0.0))
        integers: Floats = np.rint(x * inverse)
        scales: Floats = span / np.float32(254.0)
    return integers, scales


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

    def __init__(self, weights: "tuple[Any, ...]") -> None:
        """Take the weights in the order of ``WeightReader.layer``."""
        self.query = _linear(*weights[0:2])
        self.key = _linear(*weights[2:4])
        self.value = _linear(*weights[4:6])
        self.attention_output = _linear(*weights[6:8])
        self.attention_norm = Norm(weights[8], weights[9])
        self.up = _linear(*weights[10:12])
        self.down = _linear(*weights[12:14])
        self.output_norm = Norm(weights[14], weights[15])


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
        reader = WeightReader(tensors, config, folder, floats=MappedTensors.floats, integers=MappedTensors.bytes8)
        words, positions, token_types, gain, shift = reader.embeddings()
        self.words = _table(words)
        self.positions = _table(positions)
        self.token_type: Floats | None = None
        if token_types is not None:
            self.token_type = _table(token_types)[np.zeros(1, np.intp)][0]
        self.embedding_norm = Norm(gain, shift)
        self.layers = [Layer(reader.layer(number)) for number in range(config.layers)]
        self.relative_bias: Floats | None = reader.relative_bias()
        reader.check_all_were_used()


def _linear(weight: "Weight", bias: "Weight") -> Linear:
    assert not isinstance(bias, tuple)  # noqa: S101 - only matrices and tables have scales
    return QuantizedLinear(weight[0], weight[1], bias) if isinstance(weight, tuple) else Linear(weight, bias)


def _table(weight: "Weight") -> Table:
    return Table(*weight) if isinstance(weight, tuple) else Table(weight)
