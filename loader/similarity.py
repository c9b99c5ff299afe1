"""Comparing vectors. Importing this module does not import NumPy."""

import sys

from .errors import ArgumentTypeError, ArgumentValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Buffer

    Vectors = Buffer | NDArray[np.floating[Any]]

_ROWS_AT_ONCE: "Final" = 1 << 16
"""Rows that NumPy multiplies at a time: a memory-mapped matrix may be larger than the memory."""


def top_k(query: "Vectors", vectors: "Vectors", k: int) -> list[tuple[int, float]]:
    """Return the nearest neighbours of a vector: the k rows of a matrix with the largest dot products with it.

    Exact: every row is compared. For normalised vectors, such as a provider returns, the dot product is the cosine.

    >>> from array import array
    >>> from loader import top_k
    >>> top_k(array("f", [1.0, 0.0]), array("f", [0.6, 0.8, 1.0, 0.0]), 1)
    [(1, 1.0)]

    Args:
        query: a vector of float32, shape (dimension,): an array, or bytes as ``embed_query_bytes`` returns them.
        vectors: float32, shape (rows, dimension): an array, or bytes, a memory map, a ``memoryview``, ..., row by row.
            A matrix in another form than contiguous little-endian float32 is copied first.
        k: how many, at least 1. There are fewer if the matrix has fewer rows.

    Returns:
        The index of each row and its dot product, computed in float32, the largest first; of equal ones the one that
        comes first. Rows whose product is not a number are left out.

    Raises:
        ArgumentTypeError: an argument has another type.
        ArgumentValueError (also ValueError): k is below 1, or the sizes do not match.
    """
    if isinstance(k, bool) or not isinstance(k, int):
        raise ArgumentTypeError(f"k must be an integer, not {type(k).__name__}")
    if k < 1:
        raise ArgumentValueError(f"k must be at least 1, not {k}")
    one, many = _floats(query, "query", 1), _floats(vectors, "vectors", 2)
    width = one.nbytes
    columns = many.shape[1] if many.ndim == 2 and many.shape and many.nbytes else width // 4
    if not width or many.nbytes % width or columns * 4 != width:
        raise ArgumentValueError(
            f"The query has {width // 4} numbers; vectors of {many.nbytes / 4:g} numbers in all do not match it."
        )
    try:
        from ._native import top_k as find
    except ImportError:
        return _top_k_by_numpy(one, many, k)
    found: list[tuple[int, float]] = find(one, many, k)
    return found


def _floats(vectors: "Vectors", name: str, most: int) -> memoryview:
    """Return contiguous float32 of at most so many dimensions, or bytes that are taken for such."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(vectors, numpy.ndarray):
        if not numpy.issubdtype(vectors.dtype, numpy.floating):
            raise ArgumentTypeError(f"{name} must be floating-point numbers, not {vectors.dtype}")
        vectors = numpy.ascontiguousarray(vectors, "<f4")
    try:
        view = memoryview(vectors)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(f"{name} must be bytes or an array, not {type(vectors).__name__}") from None
    if view.format.lstrip("<=@") not in {"f", "B", "b", "c"}:
        raise ArgumentTypeError(f"{name} must be float32, not of the format {view.format!r}")
    if view.ndim > most or not view.contiguous:
        raise ArgumentValueError(f"{name} must be contiguous and have at most {most} dimensions, not {view.ndim}")
    if view.nbytes % 4:
        raise ArgumentValueError(f"{name} has {view.nbytes} bytes, which is no whole number of float32")
    return view


def _top_k_by_numpy(query: memoryview, vectors: memoryview, k: int) -> list[tuple[int, float]]:
    """Do the same without the kernel."""
    import numpy as np

    one = np.frombuffer(query, "<f4")
    rows = np.frombuffer(vectors, "<f4").reshape(-1, len(one))
    best_rows, best = np.empty(0, np.intp), np.empty(0, np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        with np.errstate(all="ignore"):
            products = rows[start : start + _ROWS_AT_ONCE] @ one
        numbers = np.flatnonzero(~np.isnan(products))
        best = np.concatenate([best, products[numbers]])
        best_rows = np.concatenate([best_rows, numbers + start])
        order = np.argsort(-best, kind="stable")[:k]
        best, best_rows = best[order], best_rows[order]
    return [(int(row), float(product)) for row, product in zip(best_rows, best, strict=True)]


def cosine_similarity(a: "ArrayLike", b: "ArrayLike") -> float:
    """Return the cosine of the angle between two vectors, from -1.0 to 1.0, computed in float64.

    Args:
        a: shape (dim,).
        b: shape (dim,).

    Raises:
        ArgumentValueError (also ValueError): the shapes differ or are not (dim,), or a vector is zero or not finite.
    """
    import numpy as np

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
