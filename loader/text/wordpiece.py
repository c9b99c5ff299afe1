"""BERT's WordPiece without building a tokenizer: the words of a query are looked up in tokenizer.json itself.

Reading a vocabulary of 30,000 words into a tokenizer costs more than embedding a query. But the file is sorted neither
by us nor by anybody else, so a word is found by searching for it; where many words are asked for, the vocabulary is
read into a dictionary after all.

The result agrees token for token with the ``tokenizers`` library, or there is none: whatever could differ (another
kind of tokenizer, special tokens inside of a text, characters on which two versions of Unicode may disagree) is left
to the library. Sources: BERT's tokenization.py (Devlin et al. 2018, https://github.com/google-research/bert),
WordPiece (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
"""

import os

from ..runtime.plain_json import loads, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .._native import Places

try:
    from .._native import Places as _Places
    from .._native import find_last as _find_last
except ImportError:
    _Places = None  # type: ignore[assignment, misc]

    def _find_last(text: bytes, piece: bytes, start: int) -> int:
        return text.rfind(piece, start)


_HEAD_BYTES: "Final" = 1 << 16
"""What stands before the vocabulary fits in here, or the library reads the file."""
_BLANK: "Final" = b" \t\r\n"
_DIGITS: "Final" = b"0123456789"
_MAX_DIGITS: "Final" = 10
_NORMALIZER = frozenset({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"})
_MODEL = frozenset({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"})
_CONTINUING: "Final" = "##"
"""What the pieces inside of a word begin with in every vocabulary of BERT's kind."""

_SEARCHED: "Final" = 24
"""How often its own length is searched before the places of all pieces are noted, which takes the kernel as long as
some 30 searches that find nothing. Without a kernel, the vocabulary is read: as long as some 28 of its slower searches,
and 5 MiB. So a text never costs more than twice the cheaper of the two."""
_REMEMBERED_WORDS: "Final" = 100_000
_LARGEST_SEARCHED: "Final" = 1 << 20
"""Up to this size of tokenizer.json, searching it takes no longer than opening prepared tables: 30,000 words."""

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
        settings: what the file says, without the vocabulary.
        normalizer: settings of the normalizer, by their names in the file.
    """

    def __init__(self, path: str) -> None:
        """Read what stands before the vocabulary.

        Raises:
            NotUnderstood: another kind of tokenizer, or a file that is not written as the library writes it.
            OSError: the file cannot be read.
        """
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
            self._vocabulary_at = _vocabulary_in(head)
            if b'"WordPiece"' not in head:
                raise NotUnderstood
            file.seek(0)
            self._data = file.read()  # in one piece: copying it together would take longer than reading twice
            if not self._data.startswith(head):
                raise NotUnderstood  # it was changed meanwhile
        _check_vocabulary(self._data, self._vocabulary_at)
        self.settings = _parse(head[: self._vocabulary_at + 1] + b"}}}")
        self.normalizer = _options(self.settings, "normalizer", _NORMALIZER, "BertNormalizer")
        self._map = _Characters(self.normalizer)
        _options(self.settings, "pre_tokenizer", frozenset({"type"}), "BertPreTokenizer")
        model = _options(self.settings, "model", _MODEL, "WordPiece")
        self._longest_word = _whole(model["max_input_chars_per_word"])
        self.prefix, self.suffix = special_tokens(self.settings.get("post_processor"))
        self._added = _Added(self.settings.get("added_tokens"), self._map)
        self._pieces: dict[str, int] | None = None  # the whole vocabulary, once it was worth reading
        self._places: Places | None = None  # of its pieces, once it was worth noting them
        self._found: dict[str, int | None] = {}
        self._searched = 0
        self._words: dict[str, list[int]] = {}
        unknown = self.number(model["unk_token"]) if isinstance(model["unk_token"], str) else None
        if unknown is None or model["continuing_subword_prefix"] != _CONTINUING:
            raise NotUnderstood
        self._unknown = [unknown]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of the text's tokens, without special tokens.

        Raises:
            NotUnderstood: the library must do it.
        """
        normalised = text.translate(self._map)
        if self._added.may_be_in(text, normalised):
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

    def _split(self, word: str) -> list[int]:
        """Return the longest pieces of a word from left to right, or the unknown token if there is a gap."""
        if len(word) > self._longest_word:
            return self._unknown
        numbers = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end]
                number = self.number(_CONTINUING + piece if start else piece)
                if number is not None:
                    numbers.append(number)
                    start = end
                    break
            else:
                return self._unknown
        return numbers

    def number(self, piece: str) -> int | None:
        """Return the number of a piece, or None if the vocabulary does not have it.

        Raises:
            NotUnderstood: the vocabulary is damaged.
        """
        data = self._data  # first: it is let go of right after the pieces are there
        if self._pieces is None:
            if piece in self._found:
                return self._found[piece]
            if self._places is None and self._searched > _SEARCHED * len(data):
                self._places = _noted(data, self._vocabulary_at)
            if self._places is not None or self._searched <= _SEARCHED * len(data):
                number = self._found[piece] = self._search(data, piece)
                return number
            self._pieces = _parse(data[self._vocabulary_at :].rstrip(b"} \t\r\n") + b"}")
            self._data = b""
        return _whole(self._pieces[piece]) if piece in self._pieces else None

    def _search(self, data: bytes, piece: str) -> int | None:
        """Return the number that stands behind a piece in the vocabulary's JSON, ``"piece":number``.

        Searched from the end: where a piece stands twice, its last number is valid, as for every reader of JSON.
        """
        needle = quoted(piece).encode()
        if self._places is not None:
            at = self._places.find(needle)
            return None if at < 0 else _number_at(data, at + len(needle))
        at = _find_last(data, needle, self._vocabulary_at)
        self._searched += len(data) - max(at, self._vocabulary_at)
        while at >= 0 and data[at - 1] not in b"{, \t\r\n":  # the end of a longer piece with an escaped quote
            at = data.rfind(needle, self._vocabulary_at, at + len(needle) - 1)
        if at < 0:
            return None
        return _number_at(data, at + len(needle))


def _noted(data: bytes, start: int) -> "Places | None":
    """Return the places of the vocabulary's pieces, or None if there is no kernel to note them."""
    try:
        return _Places(data, start) if _Places is not None else None
    except ValueError:
        return None


def searched(path: str) -> WordPiece | None:
    """Return a tokenizer that is no faster in any other form: a WordPiece of this kind, and not a large one."""
    try:
        return WordPiece(path) if os.stat(path).st_size <= _LARGEST_SEARCHED else None
    except (NotUnderstood, OSError, MemoryError):
        return None  # whoever opens it in another way finds out what is wrong


class _Added:
    """The tokens that were added to the vocabulary. A text that holds one of them, even by chance, is the library's."""

    def __init__(self, listed: "Any", characters: "_Characters") -> None:
        self._literal: list[str] = []
        self._normalised: list[str] = []
        try:
            for token in listed:
                content, normalised = token["content"], token["normalized"]
                _whole(token["id"])
                if type(content) is not str or type(normalised) is not bool or not content:
                    raise NotUnderstood
                self._literal.append(content)
                if normalised:
                    # The library looks for these in the normalised text, before punctuation becomes words of its own.
                    squeezed = _squeezed(content.translate(characters))
                    if not squeezed:
                        raise NotUnderstood
                    self._normalised.append(squeezed)
        except (TypeError, KeyError):
            raise NotUnderstood from None

    def may_be_in(self, text: str, normalised: str) -> bool:
        """Whether the library might find one in a text, given with what the normalizer and our splitting make of it."""
        for token in self._literal:
            if token in text:
                return True
        if not self._normalised:
            return False
        squeezed = _squeezed(normalised)
        return any(token in squeezed for token in self._normalised)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _check_vocabulary(data: bytes, start: int) -> None:
    """Refuse a file in which searching for a piece could find something else than a reader of JSON.

    The vocabulary must be a plain object of pieces and numbers, the last thing in the file, its pieces written as they
    are. So every brace up to its end must be part of a piece, and only quotes and backslashes may be escaped.
    """
    end = _end_of_vocabulary(data, start)
    brace = data.find(b"}", start, end)
    while brace >= 0:
        if data[_skip(data, brace + 1)] in b",]}":  # it stands between entries
            raise NotUnderstood
        brace = data.find(b"}", brace + 1, end)
    escape = data.find(b"\\", start)
    while escape >= 0:
        if data[escape + 1] not in b'"\\':
            raise NotUnderstood
        escape = data.find(b"\\", escape + 2)


def _vocabulary_in(head: bytes) -> int:
    """Return where the vocabulary's brace is in ``"vocab": {``. Raises NotUnderstood if there is none."""
    name = b'"vocab"'
    at = head.find(name)
    while at >= 0:
        colon = _skip(head, at + len(name))
        brace = _skip(head, colon + 1)
        if head[colon : colon + 1] == b":" and head[brace : brace + 1] == b"{":
            return brace
        at = head.find(name, at + 1)
    raise NotUnderstood


def _end_of_vocabulary(data: bytes, start: int) -> int:
    """Return where the brace is that ends the vocabulary: behind a number, before those of the model and the file."""
    end = len(data)
    for _ in range(3):
        end = _before(data, end)
        if end < start or data[end] not in b"}":
            raise NotUnderstood
    if data[_before(data, end)] not in _DIGITS:
        raise NotUnderstood
    return end


def _number_at(data: bytes, at: int) -> int:
    """Return the number in ``: number,`` or ``: number}``. Raises NotUnderstood if there is something else."""
    at = _skip(data, at)
    start = _skip(data, at + 1)
    end = start
    while data[end] in _DIGITS:
        end += 1
    digits = data[start:end]
    if data[at] not in b":" or not 0 < len(digits) <= _MAX_DIGITS or digits != b"%d" % int(digits):
        raise NotUnderstood
    if data[_skip(data, end)] not in b",}":
        raise NotUnderstood
    return _whole(int(digits))


def _skip(data: bytes, at: int) -> int:
    """Return the place of the first byte from ``at`` on that is not blank."""
    while data[at : at + 1] and data[at] in _BLANK:
        at += 1
    return at


def _before(data: bytes, end: int) -> int:
    """Return the place of the last byte before ``end`` that is not blank, or -1."""
    end -= 1
    while end >= 0 and data[end] in _BLANK:
        end -= 1
    return end


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
        if code < 0x20 or code == 0x7F:
            return ""
        if code < 0x80:
            text = character.lower() if self._lowers else character
            return f" {text} " if _is_punctuation(text) else text
        import unicodedata  # which most queries do without

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
    import unicodedata

    return unicodedata.category(character)[0] == "P"


def _parse(data: bytes) -> "Any":
    try:
        return loads(data)
    except (ValueError, RecursionError):
        raise NotUnderstood from None


def _options(settings: "dict[str, Any]", name: str, keys: frozenset[str], kind: str) -> "dict[str, Any]":
    options = settings.get(name)
    if not isinstance(options, dict) or options.keys() != keys or options["type"] != kind:
        raise NotUnderstood
    return options


def _whole(number: object) -> int:
    """Return a token's number. Raises NotUnderstood if it cannot be one."""
    if type(number) is not int or not 0 <= number < 2**32:
        raise NotUnderstood
    return number


def special_tokens(processor: "Any") -> tuple[list[int], list[int]]:
    """Return the numbers of the special tokens before and behind a single text.

    Raises:
        NotUnderstood: the post-processor, in the JSON of tokenizer.json, does something else than adding such.
    """
    try:
        if processor["type"] in {"BertProcessing", "RobertaProcessing"}:
            return [_whole(processor["cls"][1])], [_whole(processor["sep"][1])]
        if processor["type"] == "TemplateProcessing":
            sides: tuple[list[int], list[int]] = ([], [])
            side = 0
            for part in processor["single"]:
                ((kind, value),) = part.items()
                if value["type_id"] != 0:
                    raise NotUnderstood
                if kind == "SpecialToken":
                    sides[side].extend(_whole(number) for number in processor["special_tokens"][value["id"]]["ids"])
                elif kind == "Sequence" and value["id"] == "A":
                    side += 1
                else:
                    raise NotUnderstood
            if side == 1:
                return sides
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        pass
    raise NotUnderstood
