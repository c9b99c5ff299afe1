"""What the library needs of the machine: folders, logging, the collector; and ``READING_ONCE``.

A load looks into the same small files several times: its steps do not know of each other. Inside of ``READING_ONCE``,
each is read once.
"""

from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Value = TypeVar("Value")


class _ReadingOnce:
    """A context manager for one thread: what that thread reads inside is kept until it leaves."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[object, object]] = {}

    def __enter__(self) -> None:
        self._kept[get_ident()] = {}

    def __exit__(self, *_: object) -> None:
        self._kept.pop(get_ident(), None)

    def get(self, key: object, read: "Callable[[], Value]") -> "Value":
        """Return what ``read()`` returns or has returned for the key. Nobody may change it."""
        kept = self._kept.get(get_ident())
        if kept is None:
            return read()
        if key not in kept:
            kept[key] = read()
        return kept[key]  # type: ignore[return-value]


READING_ONCE = _ReadingOnce()
