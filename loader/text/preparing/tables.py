"""The tables of one tokenizer: all parts of a tokenizer.json together."""

import json
import os

from ..prepared import stamp
from ..wordpiece import NotUnderstood, special_tokens
from .asking import library_with
from .models import write_model
from .normaliser import flat, steps_of
from .sheet import SPECIAL, Sheet, token_number
from .splitter import choose_splitter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tables:
    """The tables of one tokenizer.

    Attributes:
        file: what its tokenizer.json says.
        library: the library's tokenizer, which the tables must agree with.
        sheet: what goes into the file.
        settings: what ``loader.text.prepared`` must know besides.
    """

    def __init__(self, path: str, *, is_static: bool = False, replaced: "dict[str, Any] | None" = None) -> None:
        """Translate a tokenizer.json.

        Args:
            path: the file.
            is_static: whether it belongs to a static model, which adds no tokens around a text.
            replaced: the parts that are others than the file says; see ``tokenizer_settings.replaced_parts``.

        Raises:
            NotUnderstood: it does something that the tables cannot express.
            Exception: it is damaged, in whatever way the library or this code finds out.
        """
        from tokenizers import Tokenizer

        with open(path, "rb") as file:
            self.file: dict[str, Any] = json.loads(file.read()) | (replaced or {})
        self.library = Tokenizer.from_file(path)
        self.library.no_truncation()
        self.library.no_padding()
        if replaced:
            self.library.pre_tokenizer = library_with(**replaced).pre_tokenizer
        self.sheet = Sheet()
        steps = steps_of(self.file.get("normalizer"), self.sheet)
        choose_splitter(self.file.get("pre_tokenizer"), steps, self.sheet)
        write_model(self.file["model"], self.library, self.sheet)
        self._write_added()
        prefix, suffix = ([], []) if is_static else _ends(self.file.get("post_processor"))
        self.settings = {
            "normaliser": steps,
            "prefix": prefix,
            "suffix": suffix,
            "longest": (self.file.get("truncation") or {}).get("max_length"),
            "added": [name in self.sheet.sections for name in ("LITERAL", "NORMALISED")],
            "library": library_stamp(),
        }

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return self.sheet.to_bytes(json.dumps(self.settings).encode())

    def _write_added(self) -> None:
        """Write the added tokens: some are found in a text as it is, the others once it is normalised."""
        literal, normalised = {}, {}
        normalizer = self.library.normalizer
        for number, token in self.library.get_added_tokens_decoder().items():
            text = token.content
            rules = SPECIAL if token.single_word or token.lstrip or token.rstrip else 0
            if token.normalized:
                text = normalizer.normalize_str(text) if normalizer is not None else text
                normalised[text.encode()] = token_number(number) | rules
            else:
                literal[text.encode()] = token_number(number) | rules
        if b"" in normalised:
            raise NotUnderstood("an added token that is nothing once it is normalised")
        self.sheet.write_added("LITERAL", literal)
        self.sheet.write_added("NORMALISED", normalised)


def library_stamp() -> list[object]:
    """Return what tells whether the library is still the one that the tables agree with."""
    import tokenizers

    return [*stamp(os.path.abspath(tokenizers.__file__)), tokenizers.__version__]


def _ends(processor: "Any") -> tuple[list[int], list[int]]:
    """Return the special tokens around a text: as ``special_tokens``, and of sequences of processors."""
    found: tuple[list[int], list[int]] = ([], [])
    for part in flat(processor, "processors"):
        if part.get("type") == "ByteLevel":  # changes nothing but offsets
            continue
        if found != ([], []):
            raise NotUnderstood("two post_processors")
        found = special_tokens(part)
    return found
