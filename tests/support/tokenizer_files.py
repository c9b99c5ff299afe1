"""Small tokenizers of every kind, as files."""

import base64
import json
import struct
import unicodedata
from pathlib import Path

from tests.support.texts_corpus import varied_texts

MARK = "\u2581"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def charsmap(mapping: dict[str, str]) -> str:
    """Return a precompiled map of sentencepiece, in base64: a double array of keys, and what they become."""
    text, values = bytearray(), {}
    for key, value in sorted(mapping.items()):
        values[key.encode()] = len(text)
        text += value.encode() + b"\0"
    tree: dict[int, object] = {}
    for key, place in values.items():
        node = tree
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = place
    units: dict[int, int] = {0: 0}
    free = 1

    def lay(node: dict[int, object], at: int) -> None:
        nonlocal free
        base = free
        while any((base ^ label) in units or (base ^ label) == 0 for label in node):
            base += 1
        if len(node) > 1:
            free = max(free, base - 255)
        units[at] = units.get(at, 0) | (base ^ at) << 10 | (256 if 0 in node else 0)
        for label, below in node.items():
            units[base ^ label] = below if label == 0 else label
        for label, below in node.items():
            if label:
                lay(below, base ^ label)

    lay(tree, 0)
    size = -(-(max(units) + 1) // 256) * 256
    trie = struct.pack(f"<{size}I", *(units.get(index, 0) for index in range(size)))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + bytes(text)).decode()


def nfkc_map() -> dict[str, str]:
    """Return much of what sentencepiece's usual map does: NFKC, blanks for controls, and composed letters."""
    codes = [
        *range(0xA0, 0x600),
        *range(0x900, 0xC00),
        *range(0x1E00, 0x2200),
        *range(0x3000, 0x3400),
        *range(0xFF00, 0xFFF0),
    ]
    found = {}
    for code in codes:
        character = chr(code)
        composed = unicodedata.normalize("NFKC", character)
        if composed != character:
            found[character] = composed
        apart = unicodedata.normalize("NFD", character)
        if apart != character and len(apart) == 2:
            found[apart] = composed
    found |= dict.fromkeys("\t\n\r", " ") | dict.fromkeys(map(chr, range(1, 9)), "") | {"\u200b": "", "\u00ad": ""}
    return found


def _trained(model, pre_tokenizer, trainer, *, normalizer=None) -> dict:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(varied_texts(400), trainer)
    return json.loads(tokenizer.to_str())


def unigram() -> dict:
    """A tokenizer like XLM-R's."""
    from tokenizers import models, pre_tokenizers, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=special, unk_token="<unk>", show_progress=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    file = _trained(models.Unigram(), split, trainer)
    file["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap(nfkc_map())}
    file["model"]["vocab"].append(["<mask>", 0.0])
    mask = len(file["model"]["vocab"]) - 1
    file["added_tokens"].append({**added(mask, "<mask>"), "lstrip": True})
    file["post_processor"] = template("<s>", 0, "</s>", 2)
    return file


def byte_level(pattern: str | None = None) -> dict:
    """A tokenizer like RoBERTa's, or with a pattern and NFC, like Qwen's."""
    from tokenizers import models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    file = _trained(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), trainer)
    if pattern is not None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        rest = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, rest]}
        file["normalizer"] = {"type": "NFC"}
        file["post_processor"] = {
            "type": "Sequence",
            "processors": [{**rest, "use_regex": True}, template(None, 0, "</s>", 1)],
        }
    else:
        file["post_processor"] = {
            "type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": True,
            "add_prefix_space": False,
        }  # fmt: skip
    number = len(file["model"]["vocab"])
    for text in ("  ", "    ", "\n\n"):
        file["added_tokens"].append({**added(number, text), "special": False, "normalized": True})
        number += 1
    return file


def modern() -> dict:
    """A tokenizer like ModernBERT's: NFC, GPT-2's pattern, runs of blanks as tokens."""
    file = byte_level()
    file["normalizer"] = {"type": "NFC"}
    return file


def sentencepiece_bpe(kind: str = "gemma") -> dict:
    """A tokenizer like Gemma's, or Llama's old or new form: characters, and bytes where there are none."""
    from tokenizers import models, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=150
    )
    file = _trained(models.BPE(unk_token="<unk>"), pre_tokenizers.Metaspace(), trainer)
    vocabulary = file["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    file["model"] |= {"byte_fallback": True, "fuse_unk": True}
    blanks = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    if kind == "gemma":
        file["normalizer"] = blanks
        file["pre_tokenizer"] = {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
        }  # fmt: skip
        for text in ("\n\n", "\n\n\n", MARK * 2, "<table>"):
            file["added_tokens"].append({**added(len(vocabulary), text), "special": False})
            vocabulary[text] = len(vocabulary)
    elif kind == "llama":
        prepend = {"type": "Prepend", "prepend": MARK}
        file["normalizer"] = {"type": "Sequence", "normalizers": [prepend, blanks]}
        file["pre_tokenizer"] = None
    else:
        file["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": False}
    file["post_processor"] = template("<s>", 1, None, 0)
    return file


def wordpiece(*, lowercase: bool = True) -> dict:
    """A tokenizer like BERT's, or its cased form."""
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    file = _trained(
        models.WordPiece(unk_token="[UNK]"), pre_tokenizers.BertPreTokenizer(), trainer, normalizer=normalizer
    )
    file["post_processor"] = template("[CLS]", 2, "[SEP]", 3)
    return file


def added(number: int, text: str) -> dict:
    """An entry of added_tokens."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, **flags, "special": True}


def template(before: str | None, number: int, behind: str | None, last: int) -> dict:
    """A post-processor that puts tokens around a text."""
    parts = [{"SpecialToken": {"id": before, "type_id": 0}}] * (before is not None)
    parts += [{"Sequence": {"id": "A", "type_id": 0}}]
    parts += [{"SpecialToken": {"id": behind, "type_id": 0}}] * (behind is not None)
    tokens = {
        text: {"id": text, "ids": [one], "tokens": [text]} for text, one in ((before, number), (behind, last)) if text
    }
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": tokens}


def written(file: dict, folder: Path) -> Path:
    """Write a tokenizer.json into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(file, ensure_ascii=False), encoding="utf-8")
    return path


KINDS = {
    "unigram": unigram,
    "byte-level": byte_level,
    "qwen": lambda: byte_level(QWEN),
    "llama-3": lambda: byte_level(LLAMA),
    "modern": modern,
    "gemma": sentencepiece_bpe,
    "llama": lambda: sentencepiece_bpe("llama"),
    "llama-new": lambda: sentencepiece_bpe("new"),
    "wordpiece": wordpiece,
    "wordpiece-cased": lambda: wordpiece(lowercase=False),
}
"""One of each kind."""
