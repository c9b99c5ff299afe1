"""Comparing vectors."""

import numpy as np

from .errors import ArgumentValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def cosine_similarity(a: "ArrayLike", b: "ArrayLike") -> float:
    """Return the cosine of the angle between two vectors, from -1.0 to 1.0, computed in float64.

    Args:
        a: shape (dim,).
        b: shape (dim,).

    Raises:
        ArgumentValueError (also ValueError): the shapes differ or are not (dim,), or a vector is zero or not finite.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise ArgumentValueError(
            f"cosine_similarity compares two vectors of the same length, not of shape {left.shape} and {right.shape}"
        )
    # Scaled by the largest component first, so that squares neither overflow nor underflow.
    scales = [float(np.max(np.abs(vector), initial=0.0)) for vector in (left, right)]
    if not all(0.0 < scale < np.inf for scale in scales):
        raise ArgumentValueError("cosine_similarity is undefined for a vector that is zero, empty or not finite")
    left, right = left / scales[0], right / scales[1]
    cosine = float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
    return max(-1.0, min(1.0, cosine))
