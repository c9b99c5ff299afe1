"""A tokenizer over prepared tables: opened in milliseconds, whatever the size of its vocabulary.

``loader.text.preparing`` makes the tables, ``loader/encoder/native/tokens.c`` looks things up in them. What is here
puts the steps in their order, which is that of the library ``tokenizers``: added tokens that are found as they are, the
normaliser, added tokens in the normalised text, words, tokens. Whatever could differ is left to the library.
"""

import os

from ..runtime.plain_json import loads
from .wordpiece import NotUnderstood

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, Literal

    from typing_extensions import Buffer

    Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

MAGIC: "Final" = b"TOKENS\0\0"
FORMAT: "Final" = 1
NO_NUMBER: "Final" = 2**32 - 1
SECTIONS: "Final" = (
    "CLASS_INDEX",
    "CLASS_PAGES",
    "PIECES",
    "POOL",
    "SCORES",
    "MERGES",
    "BYTES",
    "LITERAL",
    "NORMALISED",
    "CHARACTERS",
    "CHARSMAP",
    "CHARSMAP_TEXT",
    "SETTINGS",
)
OPTIONS: "Final" = {
    "BYTE_LEVEL": 1,
    "BYTE_FALLBACK": 2,
    "FUSE_UNKNOWN": 4,
    "IGNORE_MERGES": 8,
    "PREFIX_SPACE": 16,
    "AT_BLANKS": 32,
    "PREPEND_ALWAYS": 64,
    "PREPEND_FIRST": 128,
    "CUT": 256,
}
"""As in ``native/tokens.h``, like ``SECTIONS``."""

_BLANKS: "Final" = "".join(
    map(chr, (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))
)
"""White space, as Unicode defines it; ``str.strip`` knows four more."""


class Prepared:
    """A tokenizer over the bytes of its tables. Thread-safe.

    Attributes:
        prefix, suffix: the special tokens' numbers before and behind a text.
        settings: as ``preparing.tables.Tables`` writes them.
    """

    def __init__(self, content: "Buffer") -> None:
        """Open tables.

        Raises:
            NotUnderstood: these are none, or those of another version; or there is no kernel.
        """
        try:
            from .._native import Tokens

            self._tokens = Tokens(content)
            self.settings: dict[str, Any] = loads(self._tokens.settings)
            self.prefix: list[int] = self.settings["prefix"]
            self.suffix: list[int] = self.settings["suffix"]
            self._operations = [self._operation(*operation) for operation in self.settings["normaliser"]]
            self._has_literal, self._has_normalised = self.settings["added"]
        except (ImportError, ValueError, KeyError, TypeError) as error:
            raise NotUnderstood(str(error)) from None

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the text's tokens, without special tokens.

        Raises:
            NotUnderstood: the library must do it.
        """
        tokens = self._tokens
        if not text.isascii() and tokens.has_foreign(text):
            raise NotUnderstood
        if not self._has_literal:
            return self._encode(text, is_first=True)
        numbers: list[int] = []
        parts = tokens.split_added(text, False)
        if parts is None:
            raise NotUnderstood
        for index, part in enumerate(parts):
            if isinstance(part, int):
                numbers.append(part)
            else:
                numbers += self._encode(part, is_first=not index)
        return numbers

    def _encode(self, text: str, *, is_first: bool) -> list[int]:
        """Return the tokens of a part of a text."""
        tokens = self._tokens
        for operation in self._operations:
            changed = operation(text)
            if changed is None:
                raise NotUnderstood
            text = changed
        parts = tokens.split_added(text, True) if self._has_normalised else [text]
        if parts is None:
            raise NotUnderstood
        numbers: list[int] = []
        for index, part in enumerate(parts):
            if isinstance(part, int):
                numbers.append(part)
                continue
            found = tokens.encode(part, is_first and not index)
            if found is None:
                raise NotUnderstood
            numbers += found
        return numbers

    def _operation(self, kind: str, *options: "Any") -> "Callable[[str], str | None]":
        """Return a step of the normaliser."""
        if kind == "charsmap":
            return self._tokens.apply_charsmap
        if kind == "characters":
            return self._tokens.map_characters
        return _OPERATIONS[kind](*options) if kind in _OPERATIONS else _form(kind)  # type: ignore[arg-type]


def _form(form: "Form") -> "Callable[[str], str]":
    def normalise(text: str) -> str:
        if text.isascii():
            return text
        import unicodedata  # which most queries do without

        return unicodedata.normalize(form, text)

    return normalise


def _prepend(start: str) -> "Callable[[str], str]":
    return lambda text: start + text if text else text


def _replace(old: str, new: str) -> "Callable[[str], str]":
    return lambda text: text.replace(old, new)


def _strip(left: bool, right: bool) -> "Callable[[str], str]":
    def strip(text: str) -> str:
        text = text.lstrip(_BLANKS) if left else text
        return text.rstrip(_BLANKS) if right else text

    return strip


def _squeeze(content: str) -> "Callable[[str], str]":
    """Return what replaces every run of two or more spaces by something."""

    def squeeze(text: str) -> str:
        if "  " not in text:
            return text
        while "   " in text:
            text = text.replace("   ", "  ")
        return text.replace("  ", content)

    return squeeze


_OPERATIONS: "Final[dict[str, Callable[..., Callable[[str], str]]]]" = {
    "prepend": _prepend,
    "replace": _replace,
    "strip": _strip,
    "squeeze": _squeeze,
}


def stamp(path: str) -> "list[Any]":
    """Return a file's path, size and time, which change when it is replaced."""
    found = os.stat(path)
    return [path, found.st_size, found.st_mtime_ns]
