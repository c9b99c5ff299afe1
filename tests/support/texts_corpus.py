"""Varied texts, made here: languages, scripts, lengths, punctuation, code, emoji, blanks."""

from __future__ import annotations

import random

SENTENCES = (
    "database connection",
    "How do I open a connection pool, and when does it time out?",
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Où est la bibliothèque, s'il vous plaît ?",
    "東京は日本の首都です。",
    "Москва — столица России.",
    "القاهرة عاصمة مصر",
    "नई दिल्ली भारत की राजधानी है",
    "한국의 수도는 서울이다",
    "def connect(url: str, *, timeout: float = 3.0) -> Connection: ...",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;",
    "https://example.org/a/b?c=d&e=f#g",
    "user@example.org, +1 (555) 010-9999",
    "🙂🚀 emoji 👩‍👩‍👧‍👦 family, flags 🇫🇷🇯🇵",
    "e\u0301 is not é, and ﬁ is a ligature",
    "tabs\tand\nnewlines\r\n and   spaces",
    "zero\u200bwidth and bidi \u202eoverride",
    "control \x00\x01\x1f characters",
    "[CLS] [SEP] [PAD] [MASK] <s> </s>",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "1234567890 3.14159 1e-9 0xDEADBEEF",
    "ALL CAPITALS AND mIxEd CaSe",
    "...!!!???---***",
    "a",
    " ",
    "",
    "\n\n",
    "\u00a0\u3000",
    "\ufffd\ufeff",
)


def varied_texts(count: int, seed: int = 0) -> list[str]:
    """Return ``count`` different texts, from empty to far beyond the longest sequence."""
    rng = random.Random(seed)
    texts = list(SENTENCES)
    words = " ".join(SENTENCES).split()
    while len(texts) < count:
        length = 600 if len(texts) % 25 == 0 else round(2 ** rng.uniform(0, 7))
        text = rng.choice([" ", " ", "", ", "]).join(rng.choice(words) for _ in range(length))
        if text not in texts:
            texts.append(text)
    return texts[:count]
