"""Characters that HTML forbids, and names of anchors."""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# "Controls" other than white space, surrogates and noncharacters: https://html.spec.whatwg.org/#preprocessing-the-input-stream
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_BETWEEN_WORDS = re.compile(r"[^a-z0-9]+")
_LONGEST = 60


def allowed(text: str) -> str:
    """Return the text with U+FFFD for every character that HTML forbids."""
    return _FORBIDDEN.sub(REPLACEMENT, text)


class Anchors:
    """Names for the headings of one page, each of them once."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def name(self, title: str) -> str:
        """Return a name made from a title: letters without accents, digits and hyphens, beginning with a letter."""
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        stem = _BETWEEN_WORDS.sub("-", plain)[:_LONGEST].strip("-")
        if not stem[:1].isalpha():
            stem = f"section-{stem}".rstrip("-")
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}-{count}"
        self._taken.add(name)
        return name
