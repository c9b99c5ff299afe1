"""The forward pass of an encoder, for many texts at once without padding.

The tokens of all texts are the columns of one matrix of shape (width, tokens). Everything but attention treats each
column alike, so texts of any length share the matrix; attention handles the columns of one text at a time. Features are
rows and tokens columns, because NumPy then multiplies a large matrix of weights by a narrow one of tokens: for the few
tokens of a query that takes half the time of the usual product of tokens by transposed weights.
"""

import math

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from numpy.typing import NDArray

    from .families import EncoderConfig
    from .weights import EncoderWeights, Floats, Layer, Norm

BLOCK: "Final" = 1 << 16
"""Numbers that element-wise functions process at a time: 256 KiB, so that intermediate results stay in the cache."""


class StaticEncoder:
    """Looks token vectors up, for models that are nothing but a table of them."""

    def __init__(self, table: "Floats") -> None:
        """Take a row for each token, shape (tokens, width)."""
        self._table = table

    def __call__(self, numbers: "NDArray[np.intp]", lengths: list[int]) -> "NDArray[np.float64]":  # noqa: ARG002
        """Return the vectors of all tokens, shape (width, tokens).

        They are float64, because texts may have any length, and so many are added up.
        """
        return np.ascontiguousarray(self._table[numbers].T, np.float64)


class Encoder:
    """Computes token vectors. Immutable, so any number of threads may use it at once."""

    def __init__(self, config: "EncoderConfig", weights: "EncoderWeights") -> None:
        self.config = config
        self.weights = weights
        self._activate = ACTIVATIONS[config.activation]

    def __call__(self, numbers: "NDArray[np.intp]", lengths: list[int]) -> "Floats":
        """Return the vectors of all tokens.

        Args:
            numbers: token numbers of all texts, one text after the other, shape (tokens,).
            lengths: tokens of each text; adjacent texts of the same length are computed together.

        Returns:
            Shape (width, tokens).
        """
        x = self._embed(numbers, lengths)
        runs = _runs(lengths)
        biases = {length: self._relative_bias(length) for _, length in runs}
        for layer in self.weights.layers:
            x += layer.attention_output(self._attend(layer, x, runs, biases))
            self._normalise(x, layer.attention_norm)
            inner = layer.up(x)
            _in_blocks(self._activate, inner)
            x += layer.down(inner)
            self._normalise(x, layer.output_norm)
        return x

    def _embed(self, numbers: "NDArray[np.intp]", lengths: list[int]) -> "Floats":
        """Return the sum of the word, position and token type embeddings, normalised: shape (width, tokens)."""
        weights, config = self.weights, self.config
        rows = weights.words[numbers]
        if config.family.positions_from_padding:
            positions = np.concatenate([self._positions(text) for text in np.split(numbers, np.cumsum(lengths)[:-1])])
        else:
            positions = np.concatenate([np.arange(length) for length in lengths])
        rows += weights.positions[positions]
        if weights.token_type is not None:
            rows += weights.token_type
        x = np.ascontiguousarray(rows.T)
        self._normalise(x, weights.embedding_norm)
        return x

    def _positions(self, numbers: "NDArray[np.intp]") -> "NDArray[np.intp]":
        """Return RoBERTa's positions of one text: they start at padding + 1 and skip padding tokens."""
        counted = numbers != self.config.padding
        positions: NDArray[np.intp] = np.cumsum(counted) * counted + self.config.padding
        return positions

    def _attend(
        self, layer: "Layer", x: "Floats", runs: list[tuple[int, int]], biases: "dict[int, Floats | None]"
    ) -> "Floats":
        """Return softmax(Q K^T / sqrt(d) + bias) V for each text and head, shape (width, tokens)."""
        heads = self.config.heads
        size = self.config.width // heads
        query, key, value = layer.query(x), layer.key(x), layer.value(x)
        query *= 1.0 / math.sqrt(size)
        context = np.empty_like(query)
        start = 0
        for texts, length in runs:
            end = start + texts * length

            def split(matrix: "Floats", start: int = start, end: int = end, length: int = length) -> "Floats":
                """Return the columns as shape (texts, heads, size, length), without copying."""
                return matrix[:, start:end].reshape(heads, size, -1, length).transpose(2, 0, 1, 3)

            # Keys are rows and queries columns, so that the softmax runs down columns.
            scores = split(key).swapaxes(2, 3) @ split(query)
            bias = biases[length]
            if bias is not None:
                scores += bias
            scores -= scores.max(axis=2, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=2, keepdims=True)
            split(context)[...] = split(value) @ scores
            start = end
        return context

    def _relative_bias(self, length: int) -> "Floats | None":
        """Return MPNet's bias by distance, shape (heads, keys, queries), or None."""
        table = self.weights.relative_bias
        if table is None:
            return None
        index = np.arange(length)
        buckets = distance_buckets(index[:, None] - index[None, :])
        return np.ascontiguousarray(table[buckets].transpose(2, 0, 1))

    def _normalise(self, x: "Floats", norm: "Norm") -> None:
        """Layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450) of each column, in place."""
        width = np.float32(x.shape[0])
        x -= np.add.reduce(x, axis=0) / width
        variance = np.einsum("ij,ij->j", x, x) / width
        variance += np.float32(self.config.epsilon)
        x *= np.reciprocal(np.sqrt(variance))
        x *= norm.gain
        x += norm.shift


def _runs(lengths: list[int]) -> list[tuple[int, int]]:
    """Return (number of texts, length) for each run of texts of the same length."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        if runs and runs[-1][1] == length:
            runs[-1] = (runs[-1][0] + 1, length)
        else:
            runs.append((1, length))
    return runs


def distance_buckets(distance: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Return T5's bucket of each distance (key's position minus query's): 16 for each direction.

    Distances below 8 have one bucket each; from 8 to 128 there are 8 logarithmically spaced buckets.
    """
    far = np.abs(distance)
    with np.errstate(divide="ignore"):
        spread = np.log(far.astype(np.float32) / np.float32(8)) / np.float32(math.log(16.0)) * np.float32(8)
    spread = np.where(far < 8, 0, spread)
    return 16 * (distance > 0) + np.where(far < 8, far, np.minimum(8 + spread.astype(np.intp), 15))


def _in_blocks(function: "Callable[[Floats], None]", x: "Floats") -> None:
    """Apply an in-place function to a C-contiguous array, one block at a time."""
    flat = x.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        function(flat[start : start + BLOCK])


_GELU = tuple(
    np.float32(c)
    for c in (
        7.97885638e-01,
        3.63309637e-02,
        -3.06972320e-05,
        -5.60041075e-05,
        4.08202524e-06,
        -1.41107027e-07,
        1.99591119e-09,
    )
)
"""Coefficients of P in ``gelu``: a weighted least-squares fit, reweighted until the largest error was smallest."""


def gelu(x: "Floats") -> None:
    """Compute x * Phi(x), with the normal distribution function Phi.

    The function is Hendrycks and Gimpel's (2016, https://arxiv.org/abs/1606.08415). NumPy has no error function, and
    their approximation Phi(x) = (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 has an error of up to 5e-4; with a longer
    odd polynomial, tanh(x P(x^2)), the error is below 1e-6 everywhere.
    """
    with np.errstate(over="ignore"):  # infinity is fine: its tanh is 1
        square = x * x
        tanh = square * _GELU[-1]
        for coefficient in _GELU[-2:0:-1]:
            tanh += coefficient
            tanh *= square
        tanh += _GELU[0]
        tanh *= x
    np.tanh(tanh, out=tanh)
    x *= np.float32(0.5)
    tanh *= x
    x += tanh


def gelu_tanh(x: "Floats") -> None:
    """The approximation named above, which some models were trained with."""
    with np.errstate(over="ignore"):
        tanh = x * x
        tanh *= np.float32(0.044715)
        tanh += np.float32(1.0)
        tanh *= x
        tanh *= np.float32(math.sqrt(2.0 / math.pi))
    np.tanh(tanh, out=tanh)
    x *= np.float32(0.5)
    tanh *= x
    x += tanh


def relu(x: "Floats") -> None:
    """The larger of x and 0."""
    np.maximum(x, np.float32(0.0), out=x)


ACTIVATIONS: "Final[dict[str, Callable[[Floats], None]]]" = {"gelu": gelu, "gelu_tanh": gelu_tanh, "relu": relu}
"""Activation functions, all in place."""
