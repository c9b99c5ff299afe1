"""Printing float32 without NumPy: each number reads back as itself, and is as short as NumPy's."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loader.commands._numbers import numbers, shortest

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
NORMAL = FLOATS.filter(lambda value: value == 0 or abs(value) >= 2.0**-126)


def digits(text: str) -> str:
    """The digits that count."""
    return text.lower().partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")


@given(FLOATS)
def test_a_number_reads_back_as_itself(value):
    assert struct.pack("<f", float(repr(shortest(value)))) == struct.pack("<f", value)


@given(NORMAL)
def test_a_normal_number_is_as_short_as_numpys(value):
    assert len(digits(repr(shortest(value)))) == len(digits(np.format_float_scientific(np.float32(value))))


@given(st.floats(min_value=-1, max_value=1, width=32).filter(lambda value: abs(value) >= 1e-6))
def test_a_number_of_a_vector_is_numpys(value):
    assert shortest(value) == float(str(np.float32(value)))


@given(st.lists(FLOATS, max_size=50))
def test_a_vector_is_its_numbers(values):
    data = struct.pack(f"<{len(values)}f", *values)
    assert np.array(numbers(data), np.float32).tobytes() == data
