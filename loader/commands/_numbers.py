"""Printing vectors without NumPy, which takes longer to import than the rest of the command takes to run."""

from _struct import Struct, unpack

_FLOAT = Struct("<f")
_NORMAL = 2.0**-126
"""Smaller numbers have fewer significant digits."""


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a little-endian float32 vector, each as the shortest decimal that reads back the same."""
    return [shortest(value) for value in unpack(f"<{len(vector) // 4}f", vector)]


def shortest(value: float) -> float:
    """Return the number with the fewest decimal digits that is the same float32."""
    packed = _FLOAT.pack(value)
    for digits in range(6 if abs(value) >= _NORMAL else 1, 9):
        short = float(f"{value:.{digits}g}")
        if _FLOAT.pack(short) == packed:
            return short
    return float(f"{value:.9g}")  # 9 digits are always enough
