"""Reading JSON that may have been edited: what no run can have written is rejected when it is read.

Python's parser accepts more than JSON (``NaN``) and numbers that no figure can be (``1e999``, a number of 10,000
digits), and fails on deep nesting with an error that callers do not expect.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

LARGEST = 2**63
"""No figure of a run reaches it, in bytes or nanoseconds; statistics of smaller ones stay finite."""

_MAX_DEPTH = 200
"""A tree of imports has some dozens of levels."""

_MAX_DIGITS = 400
"""Python converts many more slowly, and refuses above 4,300."""


def parse(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is not JSON, or no run can have written it: it is nested too deeply, or has a number that is not
            finite or as large as ``LARGEST``.
    """
    try:
        found = json.loads(text, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(found)
    return found


def _check_depth(found: Any) -> None:
    """Reject nesting that is too deep for the recursive functions that use the data."""
    level = [found] if isinstance(found, (dict, list)) else []
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a run can have measured")


def _float(text: str) -> float:
    number = float(text)
    if not abs(number) < LARGEST:
        raise ValueError(f"{_short(text)} is not a number that a run can have measured")
    return number


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS or not abs(int(text)) < LARGEST:
        raise ValueError(f"{_short(text)} is not a number that a run can have measured")
    return int(text)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:20]}... of {len(text)} characters"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a parsed value is a number."""
    return type(value) in {int, float}


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a parsed value is a whole number; true and false are not."""
    return type(value) is int


def is_text(value: object) -> TypeGuard[str]:
    """Whether a parsed value is a string."""
    return isinstance(value, str)


def is_text_or_null(value: object) -> TypeGuard[str | None]:
    """Whether a parsed value is a string or null."""
    return value is None or is_text(value)


def holds(value: object, check: Callable[[Any], bool]) -> bool:
    """Whether a parsed value is an object of which each value, or a list of which each item, passes a check."""
    if isinstance(value, dict):
        return all(map(check, value.values()))
    return isinstance(value, (list, tuple)) and all(map(check, value))
