"""The fields of a JSON object: read once, with their types checked, and written back so that nothing is lost.

A field that is missing and one that is null are read alike: null stands where something is not known, or where the runs
that were merged differ.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, TypeVar

from bench.data.json_text import is_integer, is_number, is_text
from bench.errors import RecordError
from bench.plan.cell import Cell, cell_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeGuard

    from _typeshed import DataclassInstance

T = TypeVar("T")


class Fields:
    """The fields of an object, each asked for by its name.

    Every method returns None, or an empty tuple, for a field that is missing or null.

    Args:
        data: what was parsed.
        name: what the object is called in messages, "" for the outermost one.

    Raises:
        RecordError: the data are no object; and from each method, the field has another type.
    """

    def __init__(self, data: object, name: str = "") -> None:
        self._prefix = f"{name}." if name else ""
        self._known: set[str] = set()
        if not isinstance(data, dict):
            raise _wrong(name or "it", "an object", data)
        self._data: dict[str, object] = data

    def text(self, name: str) -> str | None:
        """Return a text."""
        return self._take(name, "a text", is_text)

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        return self._take(name, "true or false", _is_flag)

    def integer(self, name: str) -> int | None:
        """Return a whole number."""
        return self._take(name, "a whole number", is_integer)

    def number(self, name: str) -> float | None:
        """Return a number, as it was written: 1 stays a whole one."""
        return self._take(name, "a number", is_number)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        found = self._take(name, "a list of texts", _is_list)
        if found is None:
            return None
        return tuple(_checked(item, f"{self._prefix}{name}", "a list of texts", is_text) for item in found)

    def plain(self, name: str) -> Mapping[str, object] | None:
        """Return an object as it is, whatever is in it."""
        return self._take(name, "an object", _is_object)

    def plains(self, name: str) -> tuple[Mapping[str, object], ...]:
        """Return a list of objects as they are."""
        return self._items(name, lambda item, label: _checked(item, label, "an object", _is_object))

    def mapping(self, name: str, what: str, is_value: Callable[[object], TypeGuard[T]]) -> dict[str, T] | None:
        """Return an object whose values all pass a check; ``what`` names such a value in a message."""
        found = self.plain(name)
        if found is None:
            return None
        return {key: _checked(value, f"{self._prefix}{name}.{key}", what, is_value) for key, value in found.items()}

    def part(self, name: str, make: Callable[[Fields], T]) -> T | None:
        """Return what is made from an object."""
        found = self.plain(name)
        return None if found is None else make(Fields(found, f"{self._prefix}{name}"))

    def parts(self, name: str, make: Callable[[Fields], T]) -> tuple[T, ...]:
        """Return what is made from each object of a list."""
        return self._items(name, lambda item, label: make(Fields(item, label)))

    def parts_by_name(self, name: str, make: Callable[[Fields], T]) -> dict[str, T]:
        """Return what is made from each object of an object."""
        found = self.plain(name) or {}
        return {key: make(Fields(value, f"{self._prefix}{name}.{key}")) for key, value in found.items()}

    def cells(self, name: str) -> tuple[Cell, ...]:
        """Return a list of cells."""
        return self._items(name, _cell)

    def require(self, *names: str) -> None:
        """Raise RecordError if one of these fields is missing or null."""
        for name in names:
            if self._data.get(name) is None:
                raise RecordError(f"{self._prefix}{name} is missing")

    def require_null_or(self, name: str) -> None:
        """Raise RecordError if a field is missing, which is null where something does not exist."""
        if name not in self._data:
            raise RecordError(f"{self._prefix}{name} is missing")

    def rest(self) -> dict[str, object]:
        """Return the fields that were not asked for before, and the empty ones, which ``to_json`` would not write."""
        return {key: value for key, value in self._data.items() if key not in self._known or value in _EMPTY}

    def _take(self, name: str, what: str, is_value: Callable[[object], TypeGuard[T]]) -> T | None:
        self._known.add(name)
        value = self._data.get(name)
        return None if value is None else _checked(value, f"{self._prefix}{name}", what, is_value)

    def _items(self, name: str, make: Callable[[object, str], T]) -> tuple[T, ...]:
        found = self._take(name, "a list", _is_list) or []
        return tuple(make(item, f"{self._prefix}{name}[{number}]") for number, item in enumerate(found))


_EMPTY: tuple[object, ...] = (None, [], {})


def to_json(item: DataclassInstance) -> dict[str, object]:
    """Return the object that a dataclass was read from: its ``rest`` and all its fields that are not the default."""
    found: dict[str, object] = dict(getattr(item, "rest", {}))
    for field in fields(item):
        value = getattr(item, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name != "rest" and value != default:
            found[field.name] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, Cell):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _cell(data: object, name: str) -> Cell:
    try:
        return cell_from_json(_checked(data, name, "a cell", _is_object))
    except TypeError as error:
        raise RecordError(f"{name} is not a cell: {error}") from error


def _checked(value: object, name: str, what: str, is_value: Callable[[object], TypeGuard[T]]) -> T:
    if not is_value(value):
        raise _wrong(name, what, value)
    return value


def _wrong(name: str, what: str, value: object) -> RecordError:
    text = repr(value)
    return RecordError(f"{name} must be {what}, not {text if len(text) <= 60 else f'{text[:60]}...'}")


def _is_flag(value: object) -> TypeGuard[bool]:
    return isinstance(value, bool)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
