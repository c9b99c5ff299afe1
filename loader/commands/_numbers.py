"""Printing vectors without NumPy, which takes longer to import than everything else that a command does."""

import struct
import sys
from array import array

_FLOAT = struct.Struct("<f")
_NORMAL = 2.0**-126
"""Smaller ones have fewer digits that count."""


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a vector of little-endian float32, each as the shortest decimal that reads back as it."""
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return [shortest(value) for value in values]


def shortest(value: float) -> float:
    """Return the number with the fewest decimal digits that is this one as a float32."""
    packed = _FLOAT.pack(value)
    for digits in range(6 if abs(value) >= _NORMAL else 1, 9):
        short = float(f"{value:.{digits}g}")
        if _FLOAT.pack(short) == packed:
            return short
    return float(f"{value:.9g}")  # 9 digits always do
