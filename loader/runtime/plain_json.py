"""Reading and writing JSON without importing ``json``, which also imports ``re`` and ``enum``: 7 ms of a cold start.

The standard library's parser is in C, in the module ``_json``; the Python half adds little. Where Python has no such
module, ``json`` does the work, and where the text is damaged, ``json`` says how.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    Scan = Callable[[str, int], tuple[Any, int]]

_CONSTANTS: "Final" = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BLANK: "Final" = " \t\n\r"


class _Options:
    """What the parser in C asks for, with the defaults of ``json.loads``."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__


def _unique(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":
    """Return an object. Raises ValueError if a key occurs twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


class _UniqueKeys(_Options):
    object_pairs_hook = staticmethod(_unique)  # type: ignore[assignment]


try:
    if hasattr(sys, "gettotalrefcount"):
        # Up to Python 3.11, the parser reports damage through json.decoder, and reports none if that is not imported.
        # We notice (see ``loads``), but a debug build of Python would end the process.
        import json.decoder  # noqa: F401
    from _json import encode_basestring, encode_basestring_ascii, make_scanner

    _scan: "Scan" = make_scanner(_Options)  # type: ignore[arg-type]
    _scan_unique: "Scan" = make_scanner(_UniqueKeys)  # type: ignore[arg-type]
except ImportError:  # another Python than CPython
    from json import JSONDecoder
    from json.encoder import encode_basestring, encode_basestring_ascii

    _scan = JSONDecoder().raw_decode
    _scan_unique = JSONDecoder(object_pairs_hook=_unique).raw_decode


def loads(data: bytes, *, unique_keys: bool = False) -> "Any":
    """Return the value of a JSON text in UTF-8.

    Args:
        data: the text; ``json.loads`` would also take UTF-16 and UTF-32, which no other reader of these files does.
        unique_keys: reject an object with a key that occurs twice; otherwise the last value counts.

    Raises:
        ValueError: it is not valid.
        RecursionError: it is nested too deeply.
    """
    text = data.decode()
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = (_scan_unique if unique_keys else _scan)(text, start)
        if not text[end:].strip(_BLANK):
            return value
    except (StopIteration, SystemError):
        pass
    import json

    return json.loads(text)  # which raises an error that says where


def quoted(text: str) -> str:
    """Return a string as JSON, with only quotes, backslashes and control characters escaped."""
    return str(encode_basestring(text))


def dumps(fields: "dict[str, str | int | float | bool | None]") -> bytes:
    """Return an object of plain values as JSON. Numbers must be finite."""
    written = (f"{encode_basestring_ascii(name)}: {_written(value)}" for name, value in fields.items())
    return f"{{{', '.join(written)}}}".encode()


def _written(value: "str | int | float | bool | None") -> str:
    if isinstance(value, str):
        return str(encode_basestring_ascii(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
