"""From token vectors to the vector of a text: pooling, then the model's Dense layers.

The poolings are those of Sentence-BERT (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084).
"""

import os

import numpy as np

from ..errors import ModelCorruptError, ModelUnsupportedError
from ..model.safetensors import MappedTensors
from ..model.weight_files import PICKLED, SINGLE
from .forward import gelu, relu
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
        self.dimension = width * len(self._modes)
        self._layers: list[tuple[Linear, Callable[[Floats], None]]] = []
        self._tensors: list[MappedTensors] = []
        for dense in pipeline.dense:
            path = os.path.join(dense.folder, SINGLE)
            if not os.path.exists(path) and os.path.exists(os.path.join(dense.folder, PICKLED[0])):
                raise ModelUnsupportedError(f"{dense.folder} has its weights only in {PICKLED[0]}, which can run code.")
            tensors = MappedTensors([path])
            self._tensors.append(tensors)
            wanted = {"linear.weight", "linear.bias"} if dense.bias else {"linear.weight"}
            if tensors.names != wanted or tensors.shape("linear.weight")[1:] != (self.dimension,):
                raise ModelCorruptError(
                    f"{path} holds {sorted(tensors.names)}, but a layer of {self.dimension} inputs with "
                    f"{sorted(wanted)} is needed. Fetch the model again."
                )
            bias = tensors.floats("linear.bias") if dense.bias else None
            layer = Linear(tensors.floats("linear.weight"), bias)
            self._layers.append((layer, _ACTIVATIONS[dense.activation]))
            self.dimension = len(layer.weight)

    def __call__(self, x: "Floats", lengths: list[int]) -> "Floats":
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


def _pool(mode: str, x: "Floats", starts: "NDArray[np.intp]", lengths: list[int]) -> "Floats":
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
