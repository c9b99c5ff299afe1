"""Translating the normalizer of a tokenizer.json into steps that ``loader.text.prepared`` takes."""

import base64
import json
import struct
import unicodedata

from ..wordpiece import NotUnderstood
from .asking import clusters, disagreements, library_with, made_of_each
from .sheet import BREAKS, CHANGES, FOREIGN, JOINS, VANISHES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final, Literal

    from .sheet import Sheet

_FORMS: "Final[tuple[Literal['NFC', 'NFD', 'NFKC', 'NFKD'], ...]]" = ("NFC", "NFD", "NFKC", "NFKD")
_BY_CHARACTER: "Final" = frozenset({"BertNormalizer", "Lowercase", "StripAccents", "Nmt"})
"""Normalizers that look at each character by itself."""
_JAMO: "Final" = ((0x1100, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7FB))
"""Parts of Korean syllables, which join each other by rules of their own."""


def steps_of(normalizer: "Any", sheet: "Sheet") -> list[list[object]]:
    """Return the steps of a normalizer, each with its options, and write what they need.

    Raises:
        NotUnderstood: there are no steps that do the same.
    """
    steps: list[list[object]] = []
    group: list[dict[str, Any]] = []
    for part in [*flat(normalizer, "normalizers"), None]:
        if part is not None and part.get("type") in _BY_CHARACTER:
            group.append(part)
            continue
        if group:
            steps.append(_by_character(group, sheet))
            group = []
        if part is not None:
            steps.append(_step(part, sheet, is_first=not steps))
    return steps


def flat(part: "Any", name: str) -> "Iterator[dict[str, Any]]":
    """Yield the parts of a sequence, or the only one; ``name`` is what the file calls the parts."""
    if part is None:
        return
    if part.get("type") == "Sequence":
        for one in part[name]:
            yield from flat(one, name)
    else:
        yield part


def _step(part: "dict[str, Any]", sheet: "Sheet", *, is_first: bool) -> list[object]:
    kind = part.get("type")
    if kind in _FORMS:
        if not is_first:
            raise NotUnderstood(f"{kind} behind other normalizers")
        return _form(part, sheet)
    if kind == "Precompiled":
        return _charsmap(part, sheet)
    if kind == "Prepend":
        return ["prepend", _text(part["prepend"])]
    if kind == "Strip":
        return ["strip", bool(part["strip_left"]), bool(part["strip_right"])]
    if kind == "Replace" and list(part["pattern"]) == ["String"] and part["pattern"]["String"]:
        return ["replace", _text(part["pattern"]["String"]), _text(part["content"])]
    if kind == "Replace" and part["pattern"] == {"Regex": " {2,}"} and "  " not in part["content"]:
        return ["squeeze", _text(part["content"])]
    raise NotUnderstood(f"the normalizer {json.dumps(part)[:80]}")


def _form(part: "dict[str, Any]", sheet: "Sheet") -> list[object]:
    """Python does it; characters on which its version of Unicode and the library's differ are the library's."""
    form = _FORMS[_FORMS.index(part["type"])]
    normalizer = library_with(normalizer=part).normalizer
    sheet.mark(disagreements(normalizer, lambda text: unicodedata.normalize(form, text)), FOREIGN)
    return [form]


def _by_character(group: "list[dict[str, Any]]", sheet: "Sheet") -> list[object]:
    """Learn what a group of normalizers makes of each character."""
    if "CHARACTERS" in sheet.sections:
        raise NotUnderstood("two groups of normalizers by character")
    normalizer = library_with(normalizer={"type": "Sequence", "normalizers": group}).normalizer
    decomposes = any(
        part["type"] == "BertNormalizer"
        and (part["lowercase"] if part["strip_accents"] is None else part["strip_accents"])
        for part in group
    )
    entries = {}
    for code, text in made_of_each(normalizer).items():
        if text != chr(code):
            sheet.classes[code] |= CHANGES if text else CHANGES | VANISHES
            if text:
                entries[code] = text.encode()
        if decomposes and (unicodedata.category(chr(code)) == "Cn" or any(map(unicodedata.combining, text))):
            sheet.classes[code] |= FOREIGN  # several of them might change places
    sheet.write_characters(entries)
    return ["characters"]


def _charsmap(part: "dict[str, Any]", sheet: "Sheet") -> list[object]:
    if "CHARSMAP" in sheet.sections:
        raise NotUnderstood("two precompiled maps")
    data = base64.b64decode(part["precompiled_charsmap"], validate=True)
    (size,) = struct.unpack_from("<I", data)
    trie, text = data[4 : 4 + size], data[4 + size :]
    if size % 4 or len(trie) != size:
        raise NotUnderstood("a damaged precompiled map")
    sheet.sections |= {"CHARSMAP": trie, "CHARSMAP_TEXT": text}
    joining, breaking, prepended = clusters()
    sheet.mark(joining, JOINS)
    sheet.mark(breaking, BREAKS)
    sheet.mark(prepended, FOREIGN)
    sheet.mark((code for first, last in _JAMO for code in range(first, last + 1)), FOREIGN)
    normalizer = library_with(normalizer=part).normalizer
    sheet.mark((code for code in range(0x80) if normalizer.normalize_str(chr(code)) != chr(code)), CHANGES)
    return ["charsmap"]


def _text(value: object) -> str:
    if type(value) is not str:
        raise NotUnderstood(f"the text {value!a}")
    return value
