"""Having the tables and the library tokenize the same texts before anybody relies on the tables."""

import random

from ..prepared import Prepared
from ..wordpiece import NotUnderstood
from .splitter import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tokenizers import Tokenizer

TEXTS: "Final" = (
    "",
    " ",
    "hello world",
    "  Two  spaces, and\ttabs\n\nnew lines\r\n ",
    "It's what we'll've done, ISN'T it? '\u017f",
    "1234567890 3.14159 \u00bd \u00b2 \u0663\u0664 \uff11\uff12",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m \u1e69 s\u0323\u0307 \ufb01ne \u212b \u2126 I\u0307 \u0130",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442 \u0439 \u0438\u0306",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u039f\u03b4\u03cc\u03c2",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \uff76\uff9e",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0958 \u0915\u093c",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e33",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\U0001f600\U0001f44d\U0001f3fd\U0001f469\u200d\U0001f4bb",
    "\U0001f1e9\U0001f1ea \u2764\ufe0f \u00a9\ufe0f \u00a9\u200d",
    "\u200b\u200e\ufeff\u00ad\u00a0\u3000\u2028\u2029\x85\x0b\x0c\x1c\x7f\x01",
    "a\u0301\u0302\u0303 \u00aa\u0301 \u00b5\u0308 =\u0338",
    "<s> </s> [CLS] [SEP] <|endoftext|> ## \u2581 \u2581\u2581a",
    "def f(x):\n    return x**2  # \u00b2\n\n\n\tpass",
    "https://example.org/a_b?c=d&e=%20f user@example.org C++ C# #tag @name",
    "x" * 300,
    "\U00020000\U0001d400\U0001d7d9 \ufffd \U000e0041",
)
"""What has tripped tokenizers before, and something of twelve scripts."""


def compare_with_library(prepared: Prepared, library: "Tokenizer", file: "dict[str, Any]") -> None:
    """Compare tables and library on ``TEXTS``, and on random ones of the vocabulary's pieces and of all characters.

    Raises:
        NotUnderstood: they disagree.
    """
    chance = random.Random(0)  # noqa: S311 - the same texts every time
    vocabulary = file["model"]["vocab"]
    pieces = [entry if isinstance(entry, str) else entry[0] for entry in vocabulary]
    texts = list(TEXTS)
    for _ in range(300):
        few = chance.choices(pieces, k=chance.randint(1, 12))
        texts.append(chance.choice(["", " "]).join(few).replace(MARK, " ").replace("##", ""))
    for _ in range(300):
        first = chance.choice([0x20, 0xA0, 0x300, 0x370, 0x590, 0x900, 0x1100, 0x2000, 0x3000, 0x4E00, 0xAC00, 0x1F300])
        texts.append("".join(chr(first + chance.randrange(0x180)) for _ in range(chance.randint(1, 20))))
    for text in texts:
        try:
            found = prepared.encode(text)
        except NotUnderstood:
            continue
        if found != library.encode(text, add_special_tokens=False).ids:
            raise NotUnderstood(f"the tables and the library disagree on {text[:80]!a}")
