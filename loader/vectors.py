"""Vectors as engines return them: an array, or its numbers as bytes from an engine that does without NumPy."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .contract import Vectors


class Unusable:
    """The first vector that cannot be normalised: its index, and whether it is zero; otherwise it is not finite."""

    __slots__ = ("index", "is_zero")

    def __init__(self, index: int, is_zero: bool) -> None:
        self.index = index
        self.is_zero = is_zero


def as_array(vectors: "Vectors", dimension: int) -> "NDArray[np.float32]":
    """Return the vectors as an array of shape (texts, dimension), without copying them."""
    if not isinstance(vectors, bytearray):
        return vectors
    import numpy as np

    return np.frombuffer(vectors, np.float32).reshape(-1, dimension)


def normalised(vectors: "Vectors", dimension: int) -> "tuple[Vectors, Unusable | None]":
    """Return the vectors with length 1; or any vectors, and the first that has no direction."""
    if isinstance(vectors, bytearray):
        from ._native import normalise  # which has made them

        bad = normalise(vectors, dimension)
        if bad < 0:
            return vectors, None
        row = vectors[4 * dimension * bad : 4 * dimension * (bad + 1)]
        return vectors, Unusable(bad, not any(memoryview(row).cast("f")))
    import numpy as np

    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    for index in np.flatnonzero(~np.isfinite(lengths) | (lengths == 0.0)):
        return vectors, Unusable(int(index), bool(lengths[index, 0] == 0.0))
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32), None


def joined(parts: "list[Vectors]") -> "Vectors":
    """Return the vectors of several runs in one. The engine may have changed between two of them."""
    if any(isinstance(part, bytearray) for part in parts):
        return bytearray().join(part if isinstance(part, bytearray) else part.tobytes() for part in parts)
    import numpy as np

    return np.concatenate(parts)
