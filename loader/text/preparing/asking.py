"""Asking the library ``tokenizers`` what it does with every character of Unicode."""

import json
import struct
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

_BETWEEN: "Final" = "|||"
"""What stands between characters that a normalizer is asked about at once. None makes three bars of one character."""


def everything() -> "Iterator[int]":
    """Yield the code points of the planes that are in use; texts with others are the library's."""
    yield from range(0xD800)
    yield from range(0xE000, 0x40000)
    yield from range(0xE0000, 0xE1000)


def library_with(**parts: object) -> "Any":
    """Return the library's tokenizer with these parts and hardly a vocabulary."""
    from tokenizers import Tokenizer

    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    return Tokenizer.from_str(json.dumps({"version": "1.0", **empty, "added_tokens": [], "model": model, **parts}))


def made_of_each(normalizer: "Any") -> dict[int, str]:
    """Return what a normalizer makes of every character by itself."""
    bar = ord("|")
    codes = [code for code in everything() if code != bar]
    made = normalizer.normalize_str(_BETWEEN.join(map(chr, codes))).split(_BETWEEN)
    return {bar: normalizer.normalize_str("|"), **dict(zip(codes, made, strict=True))}


def left_out_by(splitter: "Any") -> list[int]:
    """Return the characters that a pre-tokenizer leaves out."""
    codes = list(everything())
    covered = bytearray(len(codes))
    for _, (start, end) in splitter.pre_tokenize_str("".join(map(chr, codes))):
        covered[start:end] = b"\x01" * (end - start)
    return [code for index, code in enumerate(codes) if not covered[index]]


def blanks_and_punctuation(splitter: "Any") -> tuple[list[int], list[int]]:
    """Return what BERT's splitter leaves out, and what it isolates even between two letters."""
    codes = list(everything())
    text = "a" + "".join(f"{chr(code)}a" for code in codes)
    covered = bytearray(len(text))
    punctuation = []
    for _, (start, end) in splitter.pre_tokenize_str(text):
        covered[start:end] = b"\x01" * (end - start)
        if end - start == 1 and start % 2:
            punctuation.append(codes[start // 2])
    return [code for index, code in enumerate(codes) if not covered[2 * index + 1]], punctuation


def disagreements(normalizer: "Any", form: "Callable[[str], str]") -> set[int]:
    """Return the characters on which the library and Python may disagree about a form of normalisation.

    They may differ in what a character is made of, in the order of marks, and in what two characters become: the
    library knows other versions of Unicode than Python.
    """
    found: set[int] = set()

    def compare(texts: "dict[str, tuple[int, ...]]") -> None:
        theirs = normalizer.normalize_str(_BETWEEN.join(texts)).split(_BETWEEN)
        for text, their in zip(texts, theirs, strict=True):
            if their != form(text):
                found.update(texts[text])

    codes = [code for code in everything() if code != ord("|")]
    found.update(code for code in codes if unicodedata.category(chr(code)) == "Cn")
    lowest, highest = "\u0334", "\u0345"  # of the combining classes 1 and 240
    compare({chr(code): (code,) for code in codes})
    compare({f"q{chr(code)}{lowest}": (code,) for code in codes})
    compare({f"q{highest}{chr(code)}": (code,) for code in codes})
    marks = [code for code in codes if unicodedata.combining(chr(code)) and code not in found]
    others = {unicodedata.combining(chr(code)): chr(code) for code in reversed(marks)}  # one of each class
    compare({f"q{chr(code)}{other}": (code,) for code in marks for other in others.values()})
    compare({f"q{other}{chr(code)}": (code,) for code in marks for other in others.values()})
    pairs = [unicodedata.decomposition(chr(code)).split() for code in codes]
    both = [tuple(int(part, 16) for part in pair) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"]
    compare({"".join(map(chr, pair)): pair for pair in both})
    return found


def clusters() -> tuple[list[int], list[int], list[int]]:
    """Return which characters join the one before them to a grapheme cluster, which never do, and which the one behind.

    The library's normalizer treats clusters shorter than 6 bytes as one. With a map that makes "b" of some character, a
    short cluster that begins with it becomes "b" as a whole, so that the rest of it vanishes.
    """
    codes = [code for code in everything() if chr(code) not in "|ab"]

    def become(key: str, text: str, result: str) -> list[int]:
        """Return the characters of which, put into a text, this becomes of it if the key becomes b."""
        made = _map_to_b(key).normalize_str(_BETWEEN.join(text.format(chr(code)) for code in codes)).split(_BETWEEN)
        return [code for code, one in zip(codes, made, strict=True) if one == result.format(chr(code))]

    return (
        become("a", "a{}", "b"),
        become("\u0301", "{}\u0301\u0302", "{}b"),
        become("a", "{}a\u0301\u0302", "{}b\u0301\u0302"),
    )


def _map_to_b(key: str) -> "Any":
    """Return a normalizer with a precompiled map that makes "b" of a key."""
    from tokenizers.normalizers import Precompiled

    encoded = key.encode()
    trie = [0] * 0x100 * (len(encoded) + 2)  # Darts' double array of a single key; every step has a block of its own
    block = 0x100
    trie[0] = block << 10
    for byte in encoded:
        at, block = block ^ byte, block + 0x100
        trie[at] = byte | (at ^ block) << 10
    trie[at] |= 1 << 8  # its value, 0, is where the last step leads
    return Precompiled(struct.pack(f"<I{len(trie)}I", 4 * len(trie), *trie) + b"b\0")
