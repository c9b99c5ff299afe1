"""The instant engine: a full-precision forward pass in NumPy over the model's own mapped weights.

It imports only NumPy and a tokenizer, reads only the pages that are used, and needs no preparation.
"""

import os

import numpy as np

from ..artifacts import INT8_WEIGHTS, is_artifact
from ..encoder.families import EncoderConfig
from ..encoder.forward import Encoder, StaticEncoder
from ..encoder.pooling import Head
from ..encoder.static import static_table
from ..encoder.weights import EncoderWeights
from ..exit_gate import GATE
from ..model.pipeline import Pipeline
from ..model.safetensors import MappedTensors
from ..model.weight_files import weight_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

    from ..contract import Engine, Model, TextKind
    from ..text.tokenizer import TextTokenizer

FORK_SAFE = True

TOKENS_PER_RUN: "Final" = 1024
"""Tokens that are computed together. More take more memory but no less time."""


class NumpyEngine:
    """An encoder, its tokenizer and its pooling behind the engine contract."""

    name = "numpy"
    device = "cpu"
    fork_safe = FORK_SAFE
    batch_invariant = True

    def __init__(self, pipeline: Pipeline, tensors: MappedTensors, tokenizer: "TextTokenizer", precision: str) -> None:
        self.precision = precision
        self._tensors = tensors
        self._tokenizer = tokenizer
        self._prompts = pipeline.prompts
        self._encoder: Encoder | StaticEncoder
        if pipeline.is_static:
            table, width = static_table(tensors, pipeline.transformer, MappedTensors.floats)
            self._encoder = StaticEncoder(table)
        else:
            config = EncoderConfig(pipeline.config, pipeline.transformer)
            width = config.width
            self._encoder = Encoder(config, EncoderWeights(tensors, config, pipeline.transformer))
        self._head = Head(pipeline, width)
        self.dimension = self._head.dimension
        pipeline.check_dimension(self.dimension)
        self.max_seq_length = tokenizer.max_seq_length

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.contract.Engine``."""
        prompt = self._prompts[kind]
        tokens = [self._tokenizer.encode(prompt + text, self.max_seq_length) for text in texts]
        # A text without tokens has nothing to pool; the provider rejects its zeros.
        order = sorted((index for index in range(len(texts)) if tokens[index]), key=lambda index: len(tokens[index]))
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        while order:
            chosen = _take(order, tokens, batch_size)
            lengths = [len(tokens[index]) for index in chosen]
            numbers = np.array([number for index in chosen for number in tokens[index]], np.intp)
            self._check_unchanged()
            vectors[chosen] = self._head(self._encoder(numbers, lengths), lengths)
            GATE.checkpoint()
        self._check_unchanged()  # it may have been written to during the last run
        return vectors

    def _check_unchanged(self) -> None:
        self._tensors.check_unchanged()
        self._head.check_unchanged()


def _take(order: list[int], tokens: list[list[int]], batch_size: int) -> list[int]:
    """Remove and return the texts of the next run, the longest first."""
    taken: list[int] = []
    total = 0
    while order and len(taken) < batch_size and (not taken or total + len(tokens[order[-1]]) <= TOKENS_PER_RUN):
        index = order.pop()
        total += len(tokens[index])
        taken.append(index)
    return taken


def open_engine(model: "Model", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Map the model; see ``loader.contract.EngineModule``.

    ``threads`` sets the number of threads of NumPy's matrix library, which is one per process.
    """
    folder = model.folder().path
    if precision == "int8" or is_artifact(folder):
        folder = model.artifact("numpy", precision)
    return open_folder(model, folder, precision, threads)


def open_folder(model: "Model", folder: str, precision: str, threads: int | None) -> "Engine":
    """Map the weights of one folder, the model's own or an artifact's. Raises as ``open_engine``."""
    pipeline = Pipeline(folder)
    is_int8 = precision == "int8"
    files = [os.path.join(pipeline.transformer, INT8_WEIGHTS)] if is_int8 else weight_files(pipeline.transformer)
    tensors = MappedTensors(files)
    if threads is not None:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
    return NumpyEngine(pipeline, tensors, model.tokenizer(), precision)
