"""From texts to token numbers, and counting and truncating by tokens, usable before any model is loaded."""

import json
import os
import threading
from functools import partial

from .errors import ModelCorruptError, ModelUnsupportedError
from .modelfiles import mapping, read_facts, read_json, transformer_folder
from .texts import check_text
from .wordpiece import NotUnderstood, WordPiece

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeVar

    from tokenizers import Encoding, Tokenizer

    Tokens = TypeVar("Tokens", list[int], Encoding)

CHARACTERS_PER_TOKEN: "Final" = 12
"""Text beyond this many characters for each token that the model reads is not even looked at, if what is before it has
tokens enough; English has four to five characters a token."""
_MARGIN: "Final" = 16
"""So many tokens more than needed must stand before a cut: what is behind it cannot reach further back."""

_NORMALIZER_KEYS: "Final" = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


_CLASS_DEFAULTS: "Final" = {
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "add_prefix_space": False,
}
"""What transformers takes where tokenizer_config.json does not say it, whatever tokenizer.json says."""
_WHATEVER_THE_FILE_SAYS: "Final" = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of transformers that do take tokenizer.json as it is."""


class TextTokenizer:
    """The model's own tokenizer, as tokenizer.json describes it. Thread-safe.

    BERT's tokenizer is read by ``loader.wordpiece``, which starts much faster; every other one, and every text that it
    does not take, goes through the ``tokenizers`` library.

    Attributes:
        max_seq_length: longest sequence the model reads, in tokens with special tokens, or None if unlimited.
    """

    def __init__(self, folder: str) -> None:
        """Read the tokenizer of a model folder.

        Raises:
            ModelUnsupportedError: there is no tokenizer.json.
            ModelCorruptError: it cannot be read.
        """
        self._folder = transformer_folder(folder)
        self._path = os.path.join(self._folder, "tokenizer.json")
        if not os.path.isfile(self._path):
            raise ModelUnsupportedError(f"{self._folder} has no tokenizer.json, so its tokens cannot be counted.")
        self._lock = threading.Lock()
        self._tokenizer: Tokenizer | None = None
        self._wordpiece: WordPiece | None = None
        try:
            self._wordpiece = WordPiece(self._path)
        except (NotUnderstood, OSError):
            self._library()
        self.max_seq_length = read_facts(folder).max_seq_length

    def encode(self, text: str, limit: int | None) -> list[int]:
        """Return the token numbers of a text, special tokens included, truncated to ``limit`` as the library does.

        Args:
            text: any valid text.
            limit: most tokens, special tokens included, or None.
        """
        if self._wordpiece is not None:
            try:
                return self._wordpiece.with_special(_first(text, limit, self._wordpiece.encode), limit)
            except NotUnderstood:
                pass
        tokenizer = self._library()
        encoding = _first(text, limit, partial(tokenizer.encode, add_special_tokens=False))
        if limit is not None:
            encoding.truncate(max(limit - tokenizer.num_special_tokens_to_add(is_pair=False), 0))
        numbers: list[int] = tokenizer.post_process(encoding).ids
        return numbers

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the whole text has, special tokens such as [CLS] included.

        Raises:
            ArgumentTypeError, TextError: see ``loader.texts``.
        """
        return len(self.encode(check_text(text), None))

    def truncate(self, text: str, max_tokens: int | None = None) -> str:
        """Return the longest prefix of the text that has at most ``max_tokens`` tokens (default: ``max_seq_length``).

        Special tokens count. A text that fits is returned unchanged.

        Raises:
            ArgumentTypeError, TextError: see ``loader.texts``.
        """
        limit = self.max_seq_length if max_tokens is None else max_tokens
        if limit is None or self.count_tokens(text) <= limit:
            return check_text(text)
        tokenizer = self._library()
        encoding = tokenizer.encode(text)
        room = max(limit - tokenizer.num_special_tokens_to_add(is_pair=False), 0)
        ends = [
            end for (_, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not special
        ]
        # Cutting at a token's end can split the rest differently (byte-pair merges), so the result is counted again.
        for kept in range(room, 0, -1):
            prefix = text[: ends[kept - 1]]
            if self.count_tokens(prefix) <= limit:
                return prefix
        return ""

    def check_settings(self) -> None:
        """Refuse a tokenizer_config.json that says something else than tokenizer.json: transformers obeys the former.

        Raises:
            ModelUnsupportedError: a setting differs, or is not understood.
            ModelCorruptError: a file is damaged.
        """
        name = "tokenizer_config.json"
        settings = mapping(read_json(self._folder, name), self._folder, name)
        defaults = {} if settings.get("tokenizer_class") in _WHATEVER_THE_FILE_SAYS else _CLASS_DEFAULTS
        for key, value in self._settings_of_file().items():
            said = settings.get(key, defaults.get(key, value))
            if said != value:
                raise ModelUnsupportedError(
                    f"{self._folder}/{name} sets {key} to {said!a}{'' if key in settings else ' by leaving it out'}, "
                    f"tokenizer.json to {value!a}. Use engine='sentence_transformers', or save the tokenizer again."
                )
        ends = self.encode("", None)
        for key, number in (("cls_token", ends[:1]), ("sep_token", ends[-1:])):
            token = settings.get(key)
            content = token.get("content") if isinstance(token, dict) else token
            if isinstance(content, str) and ends and [self._number(content)] != number:
                raise ModelUnsupportedError(
                    f"{self._folder}/{name} sets {key} to {content!a}, which is not the one of tokenizer.json."
                )

    def _settings_of_file(self) -> dict[str, object]:
        """Return what tokenizer.json, and this class, do about the settings of a tokenizer_config.json."""
        found: dict[str, object] = {"truncation_side": "right", "split_special_tokens": False}
        if self._wordpiece is not None:
            options = self._wordpiece.normalizer
        else:
            tokenizer = self._library()
            normalizer, splitter = (_state(part) for part in (tokenizer.normalizer, tokenizer.pre_tokenizer))
            options = normalizer if normalizer.get("type") == "BertNormalizer" else {}
            if splitter.get("type") == "ByteLevel":
                found["add_prefix_space"] = splitter.get("add_prefix_space")
            if not options and type(tokenizer.model).__name__ == "WordPiece":
                found["do_lower_case"] = None  # transformers would build BERT's normalizer all the same
        return found | {key: options[name] for key, name in _NORMALIZER_KEYS.items() if name in options}

    def _number(self, token: str) -> int | None:
        if self._wordpiece is not None:
            return self._wordpiece.added.get(token)
        number: int | None = self._library().token_to_id(token)
        return number

    def _library(self) -> "Tokenizer":
        """Return the tokenizer of the library, read when it is first needed."""
        tokenizer = self._tokenizer
        if tokenizer is not None:
            return tokenizer
        with self._lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer

                try:
                    tokenizer = Tokenizer.from_file(self._path)
                except Exception as error:  # the library raises bare Exception
                    raise ModelCorruptError(f"{self._path} cannot be read: {error}. Fetch the model again.") from error
                # Once, before anybody encodes: changing them while another thread encodes fails.
                tokenizer.no_truncation()
                tokenizer.no_padding()
                self._tokenizer = tokenizer
            return self._tokenizer


def _state(part: "Any") -> "dict[str, Any]":
    """Return the settings of a part of the library's tokenizer: what it is pickled as, which is JSON."""
    if part is None:
        return {}
    state: dict[str, Any] = json.loads(part.__getstate__())
    return state


def _first(text: str, limit: int | None, encode: "Callable[[str], Tokens]") -> "Tokens":
    """Return the tokens of a text, or of a beginning of it that has more than ``limit`` of them.

    The text is cut at a blank between ASCII letters or digits, where no tokenizer's words and no Unicode normalisation
    reach across.
    """
    if limit is not None:
        size = CHARACTERS_PER_TOKEN * (limit + _MARGIN)
        while size < len(text):
            cut = _cut(text, size)
            if cut:
                tokens = encode(text[:cut])
                if len(tokens) >= limit + _MARGIN:
                    return tokens
            size *= 2
    return encode(text)


def _cut(text: str, size: int) -> int:
    """Return the last place up to ``size`` where a text may be cut, or 0 if there is none within the last thousand."""
    at = text.rfind(" ", max(size - 1000, 1), size)
    while at > 0:
        around = text[at - 1] + text[at + 1 : at + 2]
        if around.isascii() and around.isalnum() and len(around) == 2:
            return at
        at = text.rfind(" ", max(size - 1000, 1), at)
    return 0
