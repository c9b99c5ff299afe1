"""Counting and truncating by tokens, usable before any model is loaded."""

import os

from .errors import ModelCorruptError, ModelUnsupportedError
from .modelfiles import read_facts
from .texts import check_text


class TextTokenizer:
    """The model's own tokenizer, read from tokenizer.json by the ``tokenizers`` library.

    Thread-safe: truncation and padding are switched off once, before anybody encodes.

    Attributes:
        max_seq_length: longest sequence the model reads, in tokens with special tokens, or None if unlimited.
    """

    def __init__(self, folder: str) -> None:
        """Read the tokenizer of a model folder.

        Raises:
            ModelUnsupportedError: there is no tokenizer.json.
            ModelCorruptError: it cannot be read.
        """
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.isfile(path):
            raise ModelUnsupportedError(f"{folder} has no tokenizer.json, so its tokens cannot be counted.")
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(path)
        except Exception as error:  # the library raises bare Exception
            raise ModelCorruptError(f"{path} cannot be read: {error}. Fetch the model again.") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.max_seq_length = read_facts(folder).max_seq_length

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the whole text has, special tokens such as [CLS] included.

        Raises:
            ArgumentTypeError, TextError: see ``loader.texts``.
        """
        return len(self._tokenizer.encode(check_text(text)))

    def truncate(self, text: str, max_tokens: int | None = None) -> str:
        """Return the longest prefix of the text that has at most ``max_tokens`` tokens (default: ``max_seq_length``).

        Special tokens count. A text that fits is returned unchanged.

        Raises:
            ArgumentTypeError, TextError: see ``loader.texts``.
        """
        limit = self.max_seq_length if max_tokens is None else max_tokens
        encoding = self._tokenizer.encode(check_text(text))
        if limit is None or len(encoding) <= limit:
            return text
        room = max(limit - self._tokenizer.num_special_tokens_to_add(is_pair=False), 0)
        ends = [
            end for (_, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not special
        ]
        # Cutting at a token's end can split the rest differently (byte-pair merges), so the result is counted again.
        for kept in range(room, 0, -1):
            prefix = text[: ends[kept - 1]]
            if self.count_tokens(prefix) <= limit:
                return prefix
        return ""
