"""From token vectors to the vector of a text: pooling, then the model's Dense layers.

The poolings are those of Sentence-BERT (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084).
"""

import numpy as np

from ..model.safetensors import MappedTensors
from .forward import gelu, relu
from .reader import DenseWeights
from .weights import Linear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from numpy.typing import NDArray

    from ..model.pipeline import Pipeline
    from .weights import Floats


class Head:
    """Pooling and Dense layers of a model.

    Attributes:
        dimension: length of the resulting vectors.
    """

    def __init__(self, pipeline: "Pipeline", width: int) -> None:
        """Read the weights of the Dense layers, if there are any.

        Raises:
            ModelCorruptError: they are damaged, or their shapes do not match.
            ModelUnsupportedError: they are not stored as safetensors.
        """
        self._modes = pipeline.pooling
        weights = DenseWeights(pipeline, width, MappedTensors.floats)
        self.dimension = weights.dimension
        self._tensors = weights.files
        self._layers: list[tuple[Linear, Callable[[Floats], None]]] = [
            (Linear(weight, bias), _ACTIVATIONS[activation]) for weight, bias, activation in weights.layers
        ]

    def __call__(self, x: "Floats | NDArray[np.float64]", lengths: list[int]) -> "Floats":
        """Return the vectors of the texts, shape (texts, dimension), from those of their tokens, (width, tokens)."""
        starts = np.cumsum([0, *lengths[:-1]])
        pooled = np.concatenate([_pool(mode, x, starts, lengths) for mode in self._modes])
        for layer, activate in self._layers:
            pooled = layer(np.ascontiguousarray(pooled))
            activate(pooled)
        return pooled.T

    def check_unchanged(self) -> None:
        """Check that the Dense layers' files have not changed since they were mapped."""
        for tensors in self._tensors:
            tensors.check_unchanged()


def _pool(
    mode: str, x: "Floats | NDArray[np.float64]", starts: "NDArray[np.intp]", lengths: list[int]
) -> "Floats | NDArray[np.float64]":
    """Return one column per text, shape (width, texts)."""
    if mode == "cls":
        return x[:, starts]
    if mode == "max":
        return np.maximum.reduceat(x, starts, axis=1)
    sums: Floats = np.add.reduceat(x, starts, axis=1)
    counts = np.array(lengths, np.float32)
    sums /= counts if mode == "mean" else np.sqrt(counts)
    return sums


def _identity(x: "Floats") -> None:
    pass


def _tanh(x: "Floats") -> None:
    np.tanh(x, out=x)


_ACTIVATIONS: "Final[dict[str, Callable[[Floats], None]]]" = {
    "identity": _identity,
    "tanh": _tanh,
    "relu": relu,
    "gelu": gelu,
}
