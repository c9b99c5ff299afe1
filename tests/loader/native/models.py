"""Random encoders, as the kernel and as NumPy take them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np

from loader._native import Encoder as Kernel
from loader.artifacts.quantize import quantize_matrix, quantize_table
from loader.encoder.families import FAMILIES, EncoderConfig
from loader.encoder.forward import Encoder
from loader.encoder.pooling import _ACTIVATIONS, _pool
from loader.encoder.weights import EncoderWeights, Layer, Linear, Norm, _table

KIND = {(False, False): "bert", (True, False): "roberta", (True, True): "mpnet"}
"""By whether positions are counted from the padding token, and whether there is a relative bias."""


@dataclass
class Random:
    """A random encoder.

    Attributes:
        kind: a key of ``FAMILIES``.
        pooling: the modes.
        dense: (width, activation, whether there is a bias) of each Dense layer.
        size: how large the weights are.
    """

    kind: str = "bert"
    width: int = 32
    heads: int = 4
    inner: int = 48
    layers: int = 2
    words: int = 50
    positions: int = 40
    activation: str = "gelu"
    pooling: tuple[str, ...] = ("mean",)
    dense: tuple[tuple[int, str, bool], ...] = ()
    size: float = 0.5
    seed: int = 0
    parts: list[np.ndarray] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        width, inner = self.width, self.inner
        self.family = FAMILIES[self.kind]
        self.padding = 1 if self.family.positions_from_padding else None
        self.embeddings = (
            self.numbers(self.words, width),
            self.numbers(self.positions, width),
            self.numbers(width) if self.family.has_token_types else None,
            *self.norm(),
            self.numbers(32, self.heads) if self.family.relative_bias else None,
        )
        linear = lambda rows, columns: (self.numbers(rows, columns, size=1 / columns**0.5), self.numbers(rows))  # noqa: E731
        self.weights = tuple(
            (
                *(part for _ in range(4) for part in linear(width, width)),
                *self.norm(),
                *linear(inner, width),
                *linear(width, inner),
                *self.norm(),
            )
            for _ in range(self.layers)
        )
        self.dense_weights = []
        columns = width * len(self.pooling)
        for rows, activation, has_bias in self.dense:
            weight, bias = linear(rows, columns)
            self.dense_weights.append((weight, bias if has_bias else None, activation))
            columns = rows
        self.dimension = columns

    def in_8_bits(self) -> Random:
        """Return the encoder with tables and matrices of integers, as an artifact stores them."""
        model = copy(self)
        model.embeddings = (*(quantize_table(table) for table in self.embeddings[:2]), *self.embeddings[2:])
        model.weights = tuple(tuple(_integers(part) if part.ndim == 2 else part for part in w) for w in self.weights)
        return model

    def numbers(self, *shape: int, size: float | None = None) -> np.ndarray:
        return (self.random.standard_normal(shape) * (self.size if size is None else size)).astype(np.float32)

    def norm(self) -> tuple[np.ndarray, np.ndarray]:
        return 1 + self.numbers(self.width), self.numbers(self.width)

    def arguments(self) -> list:
        """Return the arguments of the kernel's ``Encoder``."""
        return [
            (self.width, self.heads, self.inner, self.activation, 1e-12, self.padding),
            self.embeddings,
            self.weights,
            (self.pooling, tuple(self.dense_weights)),
        ]

    def kernel(self, threads: int = 1, variant: str | None = None) -> Kernel:
        return Kernel(*self.arguments(), threads, variant)

    def texts(self, lengths: list[int]) -> list[list[int]]:
        """Return texts of such lengths, now and then with a padding token."""
        return [[int(number) for number in self.random.integers(0, self.words, length)] for length in lengths]

    def reference(self, texts: list[list[int]]) -> np.ndarray:
        """Return the vectors that NumPy computes, shape (texts, dimension). No text may be empty."""
        keys = self.family.keys
        settings = {
            "model_type": self.kind,
            "max_position_embeddings": self.positions,
            keys["layers"]: self.layers,
            keys["heads"]: self.heads,
            keys["width"]: self.width,
            keys["inner"]: self.inner,
            keys["activation"]: {"gelu_tanh": "gelu_new"}.get(self.activation, self.activation),
        }
        weights = object.__new__(EncoderWeights)
        words, positions, token_type, gain, shift, bias = self.embeddings
        weights.words, weights.positions, weights.token_type = _table(words), _table(positions), token_type
        weights.embedding_norm, weights.relative_bias = Norm(gain, shift), bias
        weights.layers = [Layer(layer) for layer in self.weights]
        encoder = Encoder(EncoderConfig(settings, "random"), weights)
        lengths = [len(text) for text in texts]
        x = encoder(np.array([number for text in texts for number in text], np.intp), lengths)
        starts = np.cumsum([0, *lengths[:-1]])
        pooled = np.concatenate([_pool(mode, x, starts, lengths) for mode in self.pooling])
        for weight, bias, activation in self.dense_weights:
            pooled = Linear(weight, bias)(np.ascontiguousarray(pooled))
            _ACTIVATIONS[activation](pooled)
        return pooled.T


def _integers(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    integers, scale = quantize_matrix(weight)
    return np.ascontiguousarray(integers.T), scale


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors with length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def computed(kernel: Kernel, texts: list[list[int]]) -> np.ndarray:
    """Return the kernel's vectors, shape (texts, dimension)."""
    return np.frombuffer(kernel.encode(texts), np.float32).reshape(len(texts), -1)
