"""Whether an answer is the vector of its own text: compared with a reference made in one process beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Largest difference in one component of a vector of length 1. A hundred times the rounding of float32, which depends
on the texts that share a batch, and far below the difference between texts."""

DTYPE = np.dtype("<f4")


def far_apart(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which vectors to keep so that an answer within TOLERANCE of one of them is nearer to it than to any other.

    An answer that differs from its reference by at most TOLERANCE in each of d components is at most
    TOLERANCE * sqrt(d) away from it; another reference that is more than twice as far from it is farther from the
    answer too (triangle inequality). So the load test need not search for the nearest. Of texts with nearly the same
    vector, such as those that differ only in capitals, the first is kept.

    Args:
        vectors: shape (texts, d).
    """
    exact = vectors.astype(np.float64)
    squares = (exact**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * exact @ exact.T, 0.0))
    # Three times instead of twice: the distances are rounded themselves.
    near = distances <= 3 * TOLERANCE * np.sqrt(vectors.shape[1])
    kept: NDArray[np.bool_] = ~np.tril(near, -1).any(axis=1)
    return kept


class References:
    """The vectors that answers must match.

    Args:
        vectors: float32, shape (texts, dimension), the ones that ``far_apart`` keeps.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = np.ascontiguousarray(vectors, DTYPE)
        self._bytes = [row.tobytes() for row in self._vectors]

    @classmethod
    def read(cls, path: Path, kind: str) -> References:
        """Return the references from a file that ``bench.load.client`` wrote; ``kind`` is ``query`` or ``document``."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays[kind])

    def fault(self, text: int, answer: object) -> str:
        """Return what is wrong with the answer to a text, "" if it is right."""
        if not isinstance(answer, bytes):
            return f"an answer of type {type(answer).__name__}"
        own = self._bytes[text]
        if answer == own:
            return ""
        if len(answer) != len(own):
            return f"an answer of {len(answer)} bytes instead of {len(own)}"
        vector = np.frombuffer(answer, DTYPE)
        difference = float(np.abs(vector - self._vectors[text]).max())
        if difference <= TOLERANCE:  # false for NaN
            return ""
        others = np.abs(self._vectors - vector).max(axis=1)
        if bool((others <= TOLERANCE).any()):
            return "the vector of another text"
        return "a vector that is not a number" if np.isnan(difference) else "a vector that belongs to no text"
