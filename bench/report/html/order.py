"""The order of a column's cells: computed here, so that the page's script only compares whole numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Natural = tuple[tuple[str, int, str], ...]
_Key = TypeVar("_Key", float, _Natural)

_NUMBER = r"[0-9](?:[0-9]|,(?=[0-9]))*+(?:\.[0-9]++)?+(?:e[+-]?[0-9]++)?+"
# Not the beginning of a version or of a date.
_FIGURE = re.compile(rf"[<>~≤≥≈±]?\s*([+-]?{_NUMBER})((?: \+ {_NUMBER})*+)(?![.-][0-9])", re.IGNORECASE)
_MISSING = frozenset(("", "-", "–", "—"))  # noqa: RUF001 - an en dash is one of them


@dataclass(frozen=True)
class Order:
    """How a column is sorted.

    Attributes:
        numeric: by figures, and not as text.
        ranks: for each cell 0, 1, ... from the lowest; equal cells have the same, and None is a missing value.
    """

    numeric: bool
    ranks: tuple[int | None, ...]


def leading_number(text: str) -> float | None:
    """Return the number that a cell begins with, or the sum of several with "+" between; None if it has none.

    Of "0.021 to 0.024" this is the lower bound, of "17 + 54, peak 72" the sum.
    """
    found = _FIGURE.match(text.strip())
    if not found:
        return None
    terms = (found[1] + found[2]).replace(",", "").split(" + ")
    total = sum(float(term) for term in terms)
    return total if math.isfinite(total) else None


def order(texts: Sequence[str], *, name: bool = False) -> Order:
    """Return the order of a column: by figures, if all cells but the missing ones have one; else as text.

    Args:
        texts: the cells.
        name: a column of names is never one of figures.
    """
    present = [text for text in texts if text.strip() not in _MISSING]
    figures = {text: leading_number(text) for text in present}
    if not name and all(value is not None for value in figures.values()):
        return Order(True, _ranks(texts, {text: value for text, value in figures.items() if value is not None}))
    return Order(False, _ranks(texts, {text: _natural(text) for text in present}))


def _ranks(texts: Sequence[str], keys: Mapping[str, _Key]) -> tuple[int | None, ...]:
    rank_of = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
    return tuple(rank_of[keys[text]] if text in keys else None for text in texts)


def _natural(text: str) -> _Natural:
    """Return a key that puts "model 2" before "model 10", whatever the case."""
    parts = re.split("([0-9]+)", text.casefold())
    words, numbers = parts[::2], [digits.lstrip("0") for digits in (*parts[1::2], "")]
    return tuple((word, len(digits), digits) for word, digits in zip(words, numbers, strict=True))
