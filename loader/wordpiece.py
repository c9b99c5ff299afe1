"""BERT's WordPiece without building a tokenizer: the words of a query are looked up in tokenizer.json itself.

Reading a vocabulary of 30,000 words into a tokenizer costs more than embedding a query. But the file is sorted neither
by us nor by anybody else, so a word is found by searching for it; where many words are asked for, the vocabulary is
read into a dictionary after all.

The result agrees token for token with the ``tokenizers`` library, or there is none: whatever could differ (another
kind of tokenizer, special tokens inside of a text, characters on which two versions of Unicode may disagree) is left
to the library. Sources: BERT's tokenization.py (Devlin et al. 2018, https://github.com/google-research/bert),
WordPiece (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
"""

import json
import re
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_HEAD_BYTES: "Final" = 1 << 16
"""What stands before the vocabulary fits in here, or the library reads the file."""
_VOCABULARY = re.compile(rb'"vocab"\s*:\s*\{')
_NORMALIZER = frozenset({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"})
_MODEL = frozenset({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"})

_SEARCHED: "Final" = 8
"""How many times its own length may be searched before the vocabulary is read: that takes as long as some 20 searches
that find nothing."""
_REMEMBERED_WORDS: "Final" = 100_000

_ASSIGNED_ALIKE: "Final" = (
    # Ranges of code points that have been stable since Unicode 6 and that the library treats as Python does; a test
    # compares every one of them.
    (0x0020, 0x024F),  # Latin
    (0x0250, 0x02AF),  # phonetic
    (0x0300, 0x036F),  # accents of their own
    (0x0370, 0x03FF),  # Greek
    (0x0400, 0x04FF),  # Cyrillic
    (0x05D0, 0x05EA),  # Hebrew
    (0x0621, 0x063A),  # Arabic
    (0x0641, 0x0652),
    (0x0901, 0x094D),  # Devanagari
    (0x1E00, 0x1EFF),  # Latin, Vietnamese
    (0x2010, 0x2027),  # punctuation
    (0x2030, 0x205E),
    (0x20A0, 0x20B5),  # currencies
    (0x2190, 0x21FF),  # arrows
    (0x2200, 0x22FF),  # mathematics
    (0x3001, 0x3029),  # CJK punctuation
    (0x3041, 0x3096),  # Hiragana
    (0x30A1, 0x30FA),  # Katakana
    (0x4E00, 0x9FA5),  # CJK
    (0xAC00, 0xD7A3),  # Hangul
    (0xFF01, 0xFF5E),  # full width
)
_CHINESE: "Final" = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class NotUnderstood(Exception):  # noqa: N818 - leads to the library, never to a user
    """This text, or this tokenizer, is the library's."""


class WordPiece:
    """A BERT tokenizer over the bytes of its tokenizer.json. Thread-safe.

    Attributes:
        prefix, suffix: the special tokens' numbers before and behind a text.
        normalizer: settings of the normalizer, by their names in the file.
        added: numbers of the tokens that were added to the vocabulary, such as [SEP].
    """

    def __init__(self, path: str) -> None:
        """Read what stands before the vocabulary.

        Raises:
            NotUnderstood: another kind of tokenizer, or a file that is not written as the library writes it.
            OSError: the file cannot be read.
        """
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            found = _VOCABULARY.search(head)
            if found is None or b'"WordPiece"' not in head:
                raise NotUnderstood
            self._data = head + file.read()
        self._vocabulary_at = found.end() - 1
        settings = _parse(head[: found.end()] + b"}}}")
        # The vocabulary is the last thing in the file, and its words are written as they are.
        tail = self._data[-64:].translate(None, b" \t\r\n")
        if not tail.endswith(b"}}}") or self._data.find(b"\\u", self._vocabulary_at) >= 0:
            raise NotUnderstood
        self.normalizer = _options(settings, "normalizer", _NORMALIZER, "BertNormalizer")
        self._map = _Characters(self.normalizer)
        _options(settings, "pre_tokenizer", frozenset({"type"}), "BertPreTokenizer")
        model = _options(settings, "model", _MODEL, "WordPiece")
        self._continuing = model["continuing_subword_prefix"]
        self._longest_word = model["max_input_chars_per_word"]
        self.prefix, self.suffix = _special_tokens(settings["post_processor"])
        # A text that holds one of these, even by chance, is the library's.
        self.added = {token["content"]: token["id"] for token in settings["added_tokens"]}
        self._added_folded = tuple(token.lower() for token in self.added)
        self._pieces: dict[str, int] | None = None  # the whole vocabulary, once it was worth reading
        self._found: dict[str, int | None] = {}
        self._searched = 0
        self._words: dict[str, list[int]] = {}
        unknown = self._piece(model["unk_token"])
        if unknown is None or "" in self.added:
            raise NotUnderstood
        self._unknown = [unknown]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the text's tokens, without special tokens.

        Raises:
            NotUnderstood: the library must do it.
        """
        normalised = text.translate(self._map)
        folded = text.lower() + "\n" + normalised.lower()
        for token in self._added_folded:
            if token in folded:
                raise NotUnderstood
        numbers: list[int] = []
        words = self._words
        for word in normalised.split():
            known = words.get(word)
            if known is None:
                if len(words) >= _REMEMBERED_WORDS:
                    words.clear()
                known = words[word] = self._split(word)
            numbers += known
        return numbers

    def with_special(self, numbers: list[int], limit: int | None) -> list[int]:
        """Return the tokens with the special ones around them, truncated to ``limit`` in all."""
        room = None if limit is None else max(limit - len(self.prefix) - len(self.suffix), 0)
        return [*self.prefix, *numbers[:room], *self.suffix]

    def _split(self, word: str) -> list[int]:
        """Return the longest pieces of a word from left to right, or the unknown token if there is a gap."""
        if len(word) > self._longest_word:
            return self._unknown
        numbers = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end]
                number = self._piece(self._continuing + piece if start else piece)
                if number is not None:
                    numbers.append(number)
                    start = end
                    break
            else:
                return self._unknown
        return numbers

    def _piece(self, piece: str) -> int | None:
        """Return the number of a piece, or None if the vocabulary does not have it."""
        data = self._data  # first: it is let go of right after the pieces are there
        if self._pieces is None:
            if piece in self._found:
                return self._found[piece]
            if self._searched <= _SEARCHED * len(data):
                number = self._found[piece] = self._search(data, piece)
                return number
            self._pieces, _ = json.JSONDecoder().raw_decode(data[self._vocabulary_at :].decode())
            self._data = b""
        return self._pieces.get(piece)

    def _search(self, data: bytes, piece: str) -> int | None:
        """Return the number that stands behind a piece in the vocabulary's JSON, ``"piece":number``."""
        needle = json.dumps(piece, ensure_ascii=False).encode() + b":"
        at = self._vocabulary_at
        while True:
            begun, at = at, data.find(needle, at)
            self._searched += (at if at >= 0 else len(data)) - begun
            if at < 0:
                return None
            if data[at - 1] in b"{, \t\r\n":  # not the end of a longer piece with an escaped quote
                digits = data[at + len(needle) : at + len(needle) + 24].lstrip()
                return int(digits[: re.match(rb"\d*", digits).end()])  # type: ignore[union-attr]
            at += 1


class _Characters(dict[int, str]):
    """What the normalizer makes of each character, filled as characters come; for ``str.translate``.

    Each character is normalised by itself: controls go, blanks become spaces, Chinese characters and punctuation become
    words of their own, accents go, capitals become small.
    """

    def __init__(self, options: "dict[str, Any]") -> None:
        super().__init__()
        self._cleans = options["clean_text"]
        self._parts_chinese = options["handle_chinese_chars"]
        self._lowers = options["lowercase"]
        strips = options["strip_accents"]
        self._strips = self._lowers if strips is None else strips
        if not all(type(flag) is bool for flag in (self._cleans, self._parts_chinese, self._lowers, self._strips)):
            raise NotUnderstood
        if not self._cleans:
            raise NotUnderstood  # control characters would reach the words

    def __missing__(self, code: int) -> str:
        text = self[code] = self._normalise(code)
        return text

    def _normalise(self, code: int) -> str:
        character = chr(code)
        if character in "\t\n\r":
            return " "
        if code < 0x20:
            return ""
        if not any(first <= code <= last for first, last in _ASSIGNED_ALIKE):
            raise NotUnderstood
        category = unicodedata.category(character)
        if category == "Cn":
            raise NotUnderstood
        if category[0] == "C":
            return ""
        if character.isspace():
            return " "
        parts = self._parts_chinese and any(first <= code <= last for first, last in _CHINESE)
        text = character
        if self._strips:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        if self._lowers:
            text = "".join(c.lower() for c in text)
        text = "".join(f" {c} " if _is_punctuation(c) else c for c in text)
        return f" {text} " if parts else text


def _is_punctuation(character: str) -> bool:
    # All of ASCII that is neither letter nor digit counts, also where Unicode calls it a symbol.
    if character.isascii():
        return not character.isalnum() and not character.isspace()
    return unicodedata.category(character)[0] == "P"


def _parse(data: bytes) -> "Any":
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NotUnderstood from None


def _options(settings: "dict[str, Any]", name: str, keys: frozenset[str], kind: str) -> "dict[str, Any]":
    options = settings.get(name)
    if not isinstance(options, dict) or options.keys() != keys or options["type"] != kind:
        raise NotUnderstood
    return options


def _special_tokens(processor: "Any") -> tuple[list[int], list[int]]:
    """Return the numbers of the special tokens before and behind a single text."""
    try:
        if processor["type"] in {"BertProcessing", "RobertaProcessing"}:
            return [processor["cls"][1]], [processor["sep"][1]]
        if processor["type"] == "TemplateProcessing":
            sides: tuple[list[int], list[int]] = ([], [])
            side = 0
            for part in processor["single"]:
                ((kind, value),) = part.items()
                if value["type_id"] != 0:
                    raise NotUnderstood
                if kind == "Sequence":
                    side += 1
                else:
                    sides[side].extend(processor["special_tokens"][value["id"]]["ids"])
            if side == 1:
                return sides
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        pass
    raise NotUnderstood
