"""Turning texts into token numbers, and counting and truncating by tokens, before any model is loaded."""

import os
from _thread import allocate_lock

from ..errors import LoaderError, ModelCorruptError, ModelUnsupportedError, is_panic, lacking
from ..model.config_files import read_facts, transformer_folder
from ..runtime.plain_json import loads
from . import LIBRARY_VARIABLE
from .rules import check_text
from .tokenizer_settings import Described, check, check_static, flags_of, flattened, replaced_parts
from .wordpiece import NotUnderstood, WordPiece, searched, special_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeVar

    from tokenizers import Encoding, Tokenizer

    from .prepared import Prepared

    Tokens = TypeVar("Tokens", list[int], Encoding)

CHARACTERS_PER_TOKEN: "Final" = 12
"""Text beyond this many characters per token that the model reads is not tokenized, if the text before it has enough
tokens; English has four to five characters per token."""
_MARGIN: "Final" = 16
"""A cut must leave this many tokens more than needed: text after it cannot affect tokens further back."""

_LONGEST_STRING: "Final" = 1 << 20
"""The longest ones that are of use, sentencepiece's precompiled maps, have some 320,000 bytes."""

_MODEL_OPTIONS: "Final" = (
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "max_input_chars_per_word",
    "dropout",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)
_UNIGRAM_OPTION: "Final" = rb'"(unk_id|byte_fallback)"\s*:\s*(\w+)'


class TextTokenizer:
    """The model's own tokenizer, as tokenizer.json describes it. Thread-safe.

    ``loader.text.wordpiece`` handles BERT's tokenizer with a vocabulary of the usual size, ``loader.text.prepared`` any
    other that was prepared; both start much faster than the ``tokenizers`` library. Other tokenizers, and texts that
    these do not handle, go through the library.

    Attributes:
        max_seq_length: longest sequence the model reads, in tokens, special tokens included, or None if unlimited.
        unprepared: why the tokenizer is not prepared, "" if nobody has tried yet; None if it is, or need not be.
    """

    def __init__(self, folder: str) -> None:
        """Read the tokenizer of a model folder.

        Raises:
            ModelUnsupportedError: there is no tokenizer.json, or the files beside it contradict it.
            ModelCorruptError: a file is damaged or invalid.
            ModelUnreadableError: a file cannot be read now.
        """
        self._folder = transformer_folder(folder)
        self._path = os.path.join(self._folder, "tokenizer.json")
        if not os.path.isfile(self._path):
            raise ModelUnsupportedError(f"{self._folder} has no tokenizer.json, so its tokens cannot be counted.")
        self._lock = allocate_lock()
        self._tokenizer: Tokenizer | None = None
        self._truncation: dict[str, Any] | None = None
        self._quick: WordPiece | Prepared | None = None
        self._typed = _LibraryErrors(self._path)
        self.unprepared: str | None = None
        facts = read_facts(folder)
        self._is_static = facts.is_static
        self._model_type = facts.model_type
        self.max_seq_length = facts.max_seq_length
        if self._opened_prepared():
            return
        described = self._described_first()
        if self._is_static:
            check_static(self._folder, described)
            self.max_seq_length = described.longest
            if self._quick is not None:
                self._quick.prefix, self._quick.suffix = [], []
            return
        check(self._folder, described, facts.model_type)
        special = len(self.encode("", None))
        if self.max_seq_length is not None and self.max_seq_length < special:
            raise ModelCorruptError(
                f"{folder} has a max_seq_length of {self.max_seq_length}, but needs {special} special tokens."
            )

    def _opened_prepared(self) -> bool:
        """Open the prepared tables if there are some, and they are of any use."""
        self._quick = searched(self._path)
        if self._quick is not None or os.environ.get(LIBRARY_VARIABLE) == "library":
            return False
        from .kept import find_prepared

        found = find_prepared(self._folder, is_static=self._is_static)
        if found is None or isinstance(found, str):
            self.unprepared = found or ""
            return False
        self._quick = found
        if self._is_static:
            self.max_seq_length = found.settings["longest"]
        return True

    def _described_first(self) -> Described:
        """Return what tokenizer.json says, by the fastest way that there is."""
        try:
            wordpiece = self._quick if isinstance(self._quick, WordPiece) else WordPiece(self._path)
            described = self._described(wordpiece)
        except (NotUnderstood, OSError):
            self._quick = None
            with self._typed:
                return self._described_by_library(self._library())
        except MemoryError as error:  # the library would end the process
            raise lacking(self._path, error) or error from None
        self._quick = wordpiece
        return described

    def encode(self, text: str, limit: int | None) -> list[int]:
        """Return the token numbers of a text, special tokens included, truncated to ``limit`` as the library does.

        Args:
            text: any valid text.
            limit: maximum number of tokens, special tokens included, or None.

        Raises:
            ModelCorruptError: tokenizer.json makes the library fail.
        """
        quick = self._quick
        if quick is not None:
            try:
                return _with_special(quick, _first(text, limit, quick.encode), limit)
            except NotUnderstood:
                pass
        with self._typed:
            tokenizer = self._library()
            encoding = _first(text, limit, lambda prefix: tokenizer.encode(prefix, add_special_tokens=False))
            if limit is not None:
                encoding.truncate(max(limit - tokenizer.num_special_tokens_to_add(is_pair=False), 0))
            numbers: list[int] = tokenizer.post_process(encoding).ids
        return numbers

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the whole text has, special tokens such as [CLS] included.

        Raises:
            ArgumentTypeError, TextError: see ``loader.text.rules``.
            ModelCorruptError: as ``encode``.
        """
        return len(self.encode(check_text(text), None))

    def truncate(self, text: str, max_tokens: int | None = None) -> str:
        """Return the longest prefix of the text that has at most ``max_tokens`` tokens (default: ``max_seq_length``).

        Special tokens count. A text that fits is returned unchanged.

        Raises:
            ArgumentTypeError, TextError: see ``loader.text.rules``.
            ModelCorruptError: as ``encode``.
        """
        limit = self.max_seq_length if max_tokens is None else max_tokens
        if limit is None or self.count_tokens(text) <= limit:
            return check_text(text)
        with self._typed:
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

    def _described(self, wordpiece: WordPiece) -> Described:
        file = wordpiece.settings
        try:
            settings = flattened(file)
        except (AttributeError, TypeError, KeyError, IndexError):
            raise NotUnderstood from None
        added: dict[str, tuple[int | None, tuple[object, ...]]] = {
            token["content"]: (token["id"], flags_of(token)) for token in file["added_tokens"]
        }

        def number(token: str) -> int | None:
            try:
                found = wordpiece.number(token)
            except NotUnderstood:
                found = None
            return added[token][0] if found is None and token in added else found

        longest = (file.get("truncation") or {}).get("max_length")
        return Described(settings, longest, added, (wordpiece.prefix, wordpiece.suffix), number)

    def _described_by_library(self, tokenizer: "Tokenizer") -> Described:
        if any(tokenizer.encode("a").type_ids):
            raise ModelUnsupportedError(f"{self._path} gives tokens a type_id other than 0, which is not supported.")
        model = tokenizer.model
        options = {name: getattr(model, name) for name in _MODEL_OPTIONS if hasattr(model, name)}
        options["type"] = type(model).__name__
        if options["type"] == "Unigram":
            import json
            import re

            with open(self._path, "rb") as file:  # the library does not expose these
                options |= {
                    name.decode(): json.loads(value) for name, value in re.findall(_UNIGRAM_OPTION, file.read())
                }
        parts = {name: _state(getattr(tokenizer, name)) for name in ("normalizer", "pre_tokenizer", "post_processor")}
        try:
            ends = special_tokens(parts["post_processor"])
        except NotUnderstood:
            ends = None
        added: dict[str, tuple[int | None, tuple[object, ...]]] = {
            token.content: (number, (token.lstrip, token.rstrip, token.single_word, token.normalized))
            for number, token in tokenizer.get_added_tokens_decoder().items()
        }
        settings = flattened({**parts, "model": options, "truncation": self._truncation})
        longest = (self._truncation or {}).get("max_length")
        return Described(settings, longest, added, ends, tokenizer.token_to_id)

    def _library(self) -> "Tokenizer":
        """Return the library's tokenizer, created on first use."""
        tokenizer = self._tokenizer
        if tokenizer is not None:
            return tokenizer
        with self._lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer

                self._check_strings()
                try:
                    tokenizer = Tokenizer.from_file(self._path)
                except Exception as error:  # the library raises bare Exception
                    lack = lacking(self._path, error)
                    raise lack or ModelCorruptError(
                        f"{self._path} cannot be read: {error}. Fetch the model again."
                    ) from error
                self._truncation = tokenizer.truncation
                # Once, before any encoding: changing them while another thread encodes fails.
                tokenizer.no_truncation()
                tokenizer.no_padding()
                self._replace_parts(tokenizer)
                self._tokenizer = tokenizer
            return self._tokenizer

    def _check_strings(self) -> None:
        """Reject a file with a string so long that the library would need more memory for it than there may be.

        It takes more than a hundred bytes for each byte of a piece, and ends the process where it gets none.
        """
        try:
            with open(self._path, "rb", buffering=0) as file:
                data = file.read()
        except (OSError, MemoryError) as error:
            raise lacking(self._path, error) or ModelCorruptError(f"{self._path} cannot be read: {error}.") from error
        start = 0
        while len(data) - start > _LONGEST_STRING:
            start = data.rfind(b'"', start, start + _LONGEST_STRING) + 1
            if not start:
                raise ModelCorruptError(
                    f"{self._path} has a string of more than {_LONGEST_STRING} bytes, which no tokenizer needs."
                )

    def _replace_parts(self, tokenizer: "Tokenizer") -> None:
        """Do to the library's tokenizer what sentence-transformers does."""
        if self._is_static:
            tokenizer.post_processor = None
        elif replaced_parts(self._folder, self._model_type):
            from tokenizers import pre_tokenizers

            (part,) = replaced_parts(self._folder, self._model_type).values()
            mark = part["pretokenizers"][1]
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.WhitespaceSplit(),
                    pre_tokenizers.Metaspace(mark["replacement"], mark["prepend_scheme"], mark["split"]),
                ]
            )


class _LibraryErrors:
    """A context that turns whatever the library raises into a typed error: its panics derive from BaseException."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (LoaderError, MemoryError)) or not (
            isinstance(error, Exception) or (error is not None and is_panic(error))
        ):
            return
        raise lacking(self._path, error) or ModelCorruptError(
            f"{self._path} makes the tokenizers library fail: {type(error).__name__}: {error}. Fetch the model again."
        ) from error


def _with_special(quick: "WordPiece | Prepared", numbers: list[int], limit: int | None) -> list[int]:
    """Return the tokens of a text with the special ones around them, truncated to ``limit`` in all."""
    prefix, suffix = quick.prefix, quick.suffix
    room = None if limit is None else max(limit - len(prefix) - len(suffix), 0)
    return [*prefix, *numbers[:room], *suffix]


def _state(part: "Any") -> "dict[str, Any]":
    """Return the settings of a part of the library's tokenizer, from its pickled form, which is JSON."""
    if part is None:
        return {}
    state: dict[str, Any] = loads(part.__getstate__())
    return state


def _first(text: str, limit: int | None, encode: "Callable[[str], Tokens]") -> "Tokens":
    """Return the tokens of a text, or of a prefix of it that has more than ``limit`` tokens.

    The text is cut at a space between ASCII letters or digits, which no tokenizer's words and no Unicode normalisation
    span.
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
    """Return the last place up to ``size`` where a text may be cut, or 0 if the last 1000 characters have none."""
    at = text.rfind(" ", max(size - 1000, 1), size)
    while at > 0:
        around = text[at - 1] + text[at + 1 : at + 2]
        if around.isascii() and around.isalnum() and len(around) == 2:
            return at
        at = text.rfind(" ", max(size - 1000, 1), at)
    return 0
