"""The file that holds a tokenizer's tables; its layout is that of ``native/tokens.h``."""

import struct
import zlib
from array import array

from ..prepared import FORMAT, MAGIC, NO_NUMBER, OPTIONS, SECTIONS
from ..wordpiece import NotUnderstood
from .asking import everything

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

LONGEST_PIECE: "Final" = 512
"""Longer pieces, in bytes, are not prepared: time for a text grows with the longest."""
MOST_PROBES: "Final" = 64
"""So many entries with the same hash in a row, or fewer."""
LETTER, DIGIT, BLANK_IN_PATTERN, BLANK, PUNCTUATION, JOINS, BREAKS, FOREIGN, CHANGES, VANISHES = (
    1 << place for place in range(10)
)
"""Classes of characters."""
SPECIAL: "Final" = 1 << 31
"""Set in the number of an added token with rules of its own."""
_FIELDS: "Final" = "<8s10Id"
"""Those of the header, before the places of its sections."""


class Sheet:
    """What is known of a tokenizer so far.

    Attributes:
        options: names of ``OPTIONS``.
        classes: the class of each code point; those of planes that are not in use are foreign.
        sections: what is complete, by name.
        model, splitter: numbers of the model and of the splitter.
        unknown: the number of the unknown token, or NO_NUMBER.
        unknown_score: the score of an unknown character.
        longest_word: the most characters of a word, for WordPiece.
        longest_piece, longest_added: the most bytes of a piece, and of an added token.
        most_digits: how many digits a word has at most, where a pattern says so.
    """

    def __init__(self) -> None:
        self.options: set[str] = set()
        self.classes = [FOREIGN] * 0x110000
        for code in everything():
            self.classes[code] = 0
        self.sections: dict[str, bytes] = {}
        self.model = self.splitter = 0
        self.unknown, self.unknown_score = NO_NUMBER, 0.0
        self.longest_word = self.longest_piece = self.longest_added = 0
        self.most_digits = 1
        self._pool = bytearray()
        self._places: dict[bytes, int] = {}

    def mark(self, codes: "Iterable[int]", class_: int) -> None:
        """Put characters into a class, besides those that they are in."""
        for code in codes:
            self.classes[code] |= class_

    def write_pieces(self, numbers: dict[bytes, int]) -> None:
        """Write the pieces of the vocabulary.

        Raises:
            NotUnderstood: one is too long, or a number is none.
        """
        numbers = {piece: token_number(number) for piece, number in numbers.items() if piece}
        self.longest_piece = max(map(len, numbers), default=0)
        if self.longest_piece > LONGEST_PIECE:
            raise NotUnderstood(f"a piece of {self.longest_piece} bytes")
        self.sections["PIECES"] = self._slots(numbers)

    def write_added(self, name: str, numbers: dict[bytes, int]) -> None:
        """Write added tokens into a section. Raises NotUnderstood if one is too long."""
        self.longest_added = max(self.longest_added, *map(len, numbers), 0)
        if self.longest_added > LONGEST_PIECE:
            raise NotUnderstood(f"an added token of {self.longest_added} bytes")
        if numbers:
            self.sections[name] = self._slots(numbers)

    def write_bytes(self, names: list[bytes], numbers: dict[bytes, int]) -> None:
        """Write the numbers of the 256 bytes, given what they are called."""
        found = array("I", [token_number(numbers[name]) if name in numbers else NO_NUMBER for name in names])
        self.sections["BYTES"] = found.tobytes()

    def write_merges(self, merges: dict[tuple[int, int], tuple[int, int]]) -> None:
        """Write the rank and the result of each pair that is merged."""
        entries = ((_mixed(left * 0x9E3779B1 ^ right * 0x85EBCA6B), (left, right)) for left, right in merges)
        packed = array("I")
        for pair in _hashed(len(merges), entries):
            packed.extend((0, 0, 0, NO_NUMBER) if pair is None else (*pair, *merges[pair]))
        self.sections["MERGES"] = packed.tobytes()

    def write_characters(self, texts: dict[int, bytes]) -> None:
        """Write what characters become."""
        packed = array("I")
        for code in _hashed(len(texts), ((_mixed(code * 0x9E3779B1), code) for code in texts)):
            packed.extend((NO_NUMBER, 0, 0) if code is None else (code, self._place(texts[code]), len(texts[code])))
        self.sections["CHARACTERS"] = packed.tobytes()

    def to_bytes(self, settings: bytes) -> bytes:
        """Return the file's content: header, then the sections, each at a multiple of 8."""
        self._write_classes()
        self.sections |= {"POOL": bytes(self._pool), "SETTINGS": settings}
        body, places = bytearray(), []
        start = struct.calcsize(_FIELDS) + 16 * len(SECTIONS)
        start += -start % 8
        for name in SECTIONS:
            content = self.sections.get(name, b"")
            places += [start + len(body), len(content)]
            body += content + bytes(-len(content) % 8)
        header = struct.pack(
            _FIELDS,
            MAGIC,
            FORMAT,
            self.model,
            self.splitter,
            sum(OPTIONS[name] for name in self.options),
            self.unknown,
            self.longest_word,
            self.longest_piece,
            self.longest_added,
            self.most_digits,
            MOST_PROBES,
            self.unknown_score,
        ) + struct.pack(f"<{2 * len(SECTIONS)}Q", *places)
        return header + bytes(start - len(header)) + bytes(body)

    def _slots(self, numbers: dict[bytes, int]) -> bytes:
        packed = array("I")
        for piece in _hashed(len(numbers), ((zlib.crc32(piece), piece) for piece in numbers)):
            if piece is None:
                packed.extend((0, 0, 0, 0))
            else:
                packed.extend((zlib.crc32(piece), self._place(piece), len(piece), numbers[piece]))
        return packed.tobytes()

    def _place(self, content: bytes) -> int:
        """Return where something is in the pool, once it is."""
        place = self._places.get(content)
        if place is None:
            place = self._places[content] = len(self._pool)
            self._pool += content
        return place

    def _write_classes(self) -> None:
        pages: dict[bytes, int] = {}
        index = array("H")
        for start in range(0, 0x110000, 256):
            page = array("H", self.classes[start : start + 256]).tobytes()
            index.append(pages.setdefault(page, len(pages)))
        self.sections["CLASS_INDEX"], self.sections["CLASS_PAGES"] = index.tobytes(), b"".join(pages)


def token_number(number: object) -> int:
    """Return a token's number. Raises NotUnderstood if it cannot be one."""
    if type(number) is not int or not 0 <= number < SPECIAL:
        raise NotUnderstood(f"the number {number!a}")
    return number


def _hashed(count: int, entries: "Iterable[tuple[int, Any]]") -> "list[Any]":
    """Return the slots of a hash table with open addressing, at most half of them taken.

    Raises:
        NotUnderstood: too many of the entries have the same hash.
    """
    size = 1
    while size < 2 * count + 1:
        size *= 2
    slots: list[Any] = [None] * size
    for hash_, entry in entries:
        for probe in range(MOST_PROBES):
            at = (hash_ + probe) & (size - 1)
            if slots[at] is None:
                slots[at] = entry
                break
        else:
            raise NotUnderstood("too many entries with the same hash")
    return slots


def _mixed(number: int) -> int:
    number &= 0xFFFFFFFF
    return number ^ number >> 15
