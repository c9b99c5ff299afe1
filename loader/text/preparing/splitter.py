"""Translating the pre_tokenizer of a tokenizer.json into one of the kernel's splitters."""

import json

from ..wordpiece import NotUnderstood
from .asking import blanks_and_punctuation, left_out_by, library_with
from .normaliser import flat
from .sheet import BLANK, BLANK_IN_PATTERN, DIGIT, LETTER, PUNCTUATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .sheet import Sheet

MARK: "Final" = "\u2581"
"""What stands for a blank in sentencepiece's vocabularies."""
_WHOLE, _BERT, _METASPACE, _GPT2, _CL100K = range(5)
"""The splitters, as ``native/tokens.h`` numbers them."""

_GPT2_PATTERN: "Final" = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K_PATTERN: "Final" = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS: "Final" = {
    _GPT2_PATTERN: (_GPT2, 1),
    _CL100K_PATTERN % "": (_CL100K, 1),  # Qwen's
    _CL100K_PATTERN % "{1,3}": (_CL100K, 3),  # Llama 3's
}
"""The patterns that the kernel knows, with the most digits that they take together."""


def choose_splitter(pre_tokenizer: "Any", steps: list[list[object]], sheet: "Sheet") -> None:
    """Write which splitter does what a pre_tokenizer does, with its options and classes of characters.

    Args:
        pre_tokenizer: the part of tokenizer.json.
        steps: those of the normalizer before it.
        sheet: where it is written.

    Raises:
        NotUnderstood: none does.
    """
    parts = list(flat(pre_tokenizer, "pretokenizers"))
    kinds = [part.get("type") for part in parts]
    if kinds == ["Split"] and parts[0]["pattern"] == {"String": " "} and steps[-1:] == [["replace", " ", MARK]]:
        kinds = []  # Gemma's, which finds nothing
    if not kinds:
        sheet.splitter = _WHOLE
    elif kinds == ["BertPreTokenizer"]:
        sheet.splitter = _BERT
        blanks, punctuation = blanks_and_punctuation(library_with(pre_tokenizer=parts[0]).pre_tokenizer)
        sheet.mark(blanks, BLANK)
        sheet.mark(punctuation, PUNCTUATION)
    elif kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        _metaspace(parts, sheet)
    elif kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        _by_pattern(_GPT2_PATTERN, parts[0], sheet)
    elif kinds == ["Split", "ByteLevel"] and not parts[1].get("use_regex", True):
        split, rest = parts
        if split["behavior"] != "Isolated" or split["invert"] or rest["add_prefix_space"]:
            raise NotUnderstood(f"the pre_tokenizer {json.dumps(split)[:80]}")
        _by_pattern(split["pattern"].get("Regex"), rest, sheet)
    else:
        raise NotUnderstood(f"the pre_tokenizer {', '.join(map(str, kinds))}")


def _metaspace(parts: "list[dict[str, Any]]", sheet: "Sheet") -> None:
    part = parts[-1]
    scheme = "never" if part.get("add_prefix_space") is False else part.get("prepend_scheme", "always")
    options = {"always": {"PREPEND_ALWAYS"}, "first": {"PREPEND_FIRST"}, "never": set[str]()}
    if part["replacement"] != MARK or scheme not in options:
        raise NotUnderstood(f"the pre_tokenizer {json.dumps(part)[:80]}")
    sheet.splitter = _METASPACE
    sheet.options |= options[scheme]
    if part.get("split", True):
        sheet.options.add("CUT")
    if len(parts) == 2:
        sheet.options.add("AT_BLANKS")
        sheet.mark(left_out_by(library_with(pre_tokenizer=parts[0]).pre_tokenizer), BLANK)


def _by_pattern(pattern: object, byte_level: "dict[str, Any]", sheet: "Sheet") -> None:
    if pattern not in _PATTERNS:
        raise NotUnderstood(f"the pattern {str(pattern)[:80]}")
    sheet.splitter, sheet.most_digits = _PATTERNS[str(pattern)]
    sheet.options.add("BYTE_LEVEL")
    if byte_level["add_prefix_space"]:
        sheet.options.add("PREFIX_SPACE")
    for expression, class_ in ((r"\p{L}+", LETTER), (r"\p{N}+", DIGIT), (r"\s+", BLANK_IN_PATTERN)):
        split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Removed", "invert": False}
        sheet.mark(left_out_by(library_with(pre_tokenizer=split).pre_tokenizer), class_)
