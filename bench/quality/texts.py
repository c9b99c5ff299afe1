"""Deliberately difficult texts for comparing vectors; fixed, so the same on every machine.

Rounding, truncation, normalisation and tokenisation go wrong at the edges: if a text is empty, fills the window
exactly, or consists of characters that the vocabulary does not have.
"""

# ruff: noqa: RUF001 - characters that look like others are the point

from __future__ import annotations

BLANK = ("", " ", "\n", "\t\t", " \n \n ", "\u00a0", "\u3000", "\u200b", "\ufeff")

SHORT = (
    "a",
    "I",
    "ok",
    ".",
    "?!",
    "...",
    "-",
    "#",
    "(",
    "\\",
    "|",
    "the",
    "the the the the",
    "No.",
    "yes yes no",
    "database connection",
)

LANGUAGES = (
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Où est la bibliothèque, s'il vous plaît ?",
    "El niño pequeño comió piñones en el año nuevo.",
    "Zażółć gęślą jaźń.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Íslenska: Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.",
    "İstanbul'da ılık bir gün.",
    "Vội vàng chi một buổi sáng.",
    "Москва — столица России.",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία.",
    "القاهرة عاصمة مصر",
    "ירושלים היא עיר בישראל",
    "नई दिल्ली भारत की राजधानी है",
    "กรุงเทพเป็นเมืองหลวงของประเทศไทย",
    "東京は日本の首都です。",
    "北京是中华人民共和国的首都",
    "ひらがな カタカナ 漢字",
    "ﾊﾝｶｸ ｶﾀｶﾅ",
    "한국의 수도는 서울이다",
    "ქართული ენა",
    "Հայոց լեզու",
    "ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ",
    "𐍅𐌿𐌻𐍆𐌹𐌻𐌰",
)

ACCENTS = (
    "é",
    "e\u0301",
    "ﬁ ligature",
    "Å Å A\u030a",
    "naïve café",
    "naive cafe",
    "ß SS ẞ",
    "ſtraſſe",
    "ǅ ǆ Ǆ",
    "x²+y³",
)

EMOJI = (
    "🙂",
    "🚀🚀🚀",
    "I ♥ this",
    "👩‍👩‍👧‍👦 family",
    "flags 🇫🇷🇯🇵",
    "👍🏽 skin tone",
    "great work 🎉 thanks",
    "1️⃣ 2️⃣",
    "¯\\_(ツ)_/¯",
)

NUMBERS = (
    "0",
    "42",
    "-1",
    "3.14159265358979",
    "1e-9",
    "1,000,000.00",
    "0xDEADBEEF",
    "1234567890" * 8,
    "٣٫١٤",
    "½ ¼ ¾",
    "2024-02-29T23:59:60Z",
    "192.168.0.1:8080",
    "+1 (555) 010-9999",
    "NaN inf -inf",
)

CODE = (
    "def connect(url: str, *, timeout: float = 3.0) -> Connection: ...",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }",
    '{"key": [1, 2.5, null, true], "nested": {"a": "b"}}',
    "<div class=\"a\"><a href='#x'>text</a></div>",
    r"^(?:[a-z0-9]+(?:\.[a-z0-9]+)*)@(?:[a-z0-9-]+\.)+[a-z]{2,}$",
    "curl -sSL https://example.org/a/b?c=d&e=f#g | tar xz",
    "let f = |x: &str| -> Option<u32> { x.parse().ok() };",
    "\\frac{1}{n} \\sum_{i=1}^{n} x_i",
    "user@example.org, C:\\temp\\file.txt, /usr/lib/file.so",
    "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=",
    "snake_case camelCase PascalCase kebab-case SCREAMING_SNAKE",
)

TOKENS = (
    "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "<s> </s> <pad> <mask>",
    "##ing ##ed",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "ALL CAPITALS AND mIxEd CaSe",
    "w i d e l y   s p a c e d",
    "tabs\tand\nnewlines\r\n and   spaces",
    "zero\u200bwidth and bidi \u202eoverride",
    "control \x00\x01\x1f characters",
    "\ufffd replacement \ufffd",
    "\ue000 private use",
    "don't won't can't it's",
    "well-known state-of-the-art",
    "a.b.c.d:e;f,g!h?i",
    "“quotes” ‘single’ «guillemets» —dash–dash-",
)

_SENTENCE = "The pool opens a connection when it is first asked for one, and returns it after each request. "


def _long_texts() -> tuple[str, ...]:
    """Return texts with lengths around and far beyond any model's longest sequence."""
    words = _SENTENCE.split()
    lengths = (8, 16, 32, 64, 100, 120, 126, 127, 128, 200, 250, 254, 255, 256, 300, 380, 384, 500, 510, 512, 600)
    stepwise = tuple(" ".join(words[index % len(words)] for index in range(length)) for length in lengths)
    return (
        *stepwise,
        _SENTENCE * 500,
        "word" * 5000,
        "!" * 2000,
        "東京都" * 700,
        "🙂" * 700,
        "a " * 3000 + "the end is cut off",
        "\n".join(CODE) * 20,
    )


ODD_TEXTS: tuple[str, ...] = tuple(
    dict.fromkeys((*BLANK, *SHORT, *LANGUAGES, *ACCENTS, *EMOJI, *NUMBERS, *CODE, *TOKENS, *_long_texts()))
)
"""All of them, without repetitions. None has a lone surrogate, which the loader refuses."""
