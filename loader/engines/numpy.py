"""The instant engine: a full-precision forward pass in NumPy over the model's own mapped weights.

Nothing is imported but NumPy and a tokenizer, nothing is read but the pages that are used, nothing is prepared.
"""

import os

import numpy as np

from ..artifacts.manifest import INT8_WEIGHTS, is_artifact
from ..encoder.families import EncoderConfig
from ..encoder.forward import Encoder
from ..encoder.weights import EncoderWeights
from ..exitgate import GATE
from ..pipeline import Pipeline
from ..pooling import Head
from ..safetensors import MappedTensors
from ..weights import weight_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from ..parts import ModelParts
    from ..tokenizer import TextTokenizer
    from .base import Engine, TextKind

FORK_SAFE = True

TOKENS_PER_RUN: "Final" = 1024
"""Tokens that are computed together. More of them take more memory and no less time."""


class NumpyEngine:
    """An encoder, its tokenizer and its pooling behind the engine contract."""

    name = "numpy"
    device = "cpu"
    fork_safe = FORK_SAFE
    batch_invariant = True

    def __init__(self, pipeline: Pipeline, tensors: MappedTensors, tokenizer: "TextTokenizer", precision: str) -> None:
        config = EncoderConfig(pipeline.config, pipeline.transformer)
        self.precision = precision
        self._tensors = tensors
        tokenizer.check_settings()
        self._tokenizer = tokenizer
        self._prompts = pipeline.prompts
        self._encoder = Encoder(config, EncoderWeights(tensors, config, pipeline.transformer))
        self._head = Head(pipeline, config.width)
        self.dimension = self._head.dimension
        self.max_seq_length = pipeline.max_seq_length

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.engines.base.Engine``."""
        self._tensors.check_unchanged()
        prompt = self._prompts[kind]
        longest = min(self.max_seq_length or self._encoder.longest, self._encoder.longest)
        tokens = [self._tokenizer.encode(prompt + text, longest) for text in texts]
        # A text without any token has nothing to pool; its zeros are refused by the provider.
        order = sorted((index for index in range(len(texts)) if tokens[index]), key=lambda index: len(tokens[index]))
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        while order:
            chosen = _take(order, tokens, batch_size)
            lengths = [len(tokens[index]) for index in chosen]
            numbers = np.array([number for index in chosen for number in tokens[index]], np.intp)
            vectors[chosen] = self._head(self._encoder(numbers, lengths), lengths)
            GATE.checkpoint()
        return vectors


def _take(order: list[int], tokens: list[list[int]], batch_size: int) -> list[int]:
    """Remove and return the texts of the next run, the longest first."""
    taken: list[int] = []
    total = 0
    while order and len(taken) < batch_size and (not taken or total + len(tokens[order[-1]]) <= TOKENS_PER_RUN):
        index = order.pop()
        total += len(tokens[index])
        taken.append(index)
    return taken


def open_engine(model: "ModelParts", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Map the model; see ``loader.engines.base.EngineModule``.

    ``threads`` sets the number of threads of NumPy's matrix library, which is one per process.
    """
    folder = model.folder().path
    if precision == "int8" or is_artifact(folder):
        folder = model.artifact("numpy", precision)
    return open_folder(model, folder, precision, threads)


def open_folder(model: "ModelParts", folder: str, precision: str, threads: int | None) -> "Engine":
    """Map the weights of one folder, the model's own or an artifact's. Raises as ``open_engine``."""
    pipeline = Pipeline(folder)
    is_int8 = precision == "int8"
    files = [os.path.join(pipeline.transformer, INT8_WEIGHTS)] if is_int8 else weight_files(pipeline.transformer)
    tensors = MappedTensors(files)
    if threads is not None:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
    return NumpyEngine(pipeline, tensors, model.tokenizer(), precision)
