"""Translating the model of a tokenizer.json: its vocabulary, scores or merges."""

import json
import sys
from array import array

from ..prepared import NO_NUMBER
from ..wordpiece import NotUnderstood
from .sheet import token_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tokenizers import Tokenizer

    from .sheet import Sheet

_LONGEST_WORD = 1000
"""A longer ``max_input_chars_per_word`` is not prepared."""


def write_model(model: "dict[str, Any]", library: "Tokenizer", sheet: "Sheet") -> None:
    """Write the model of a tokenizer.

    Args:
        model: the part of tokenizer.json.
        library: the library's tokenizer of the same file.
        sheet: where it is written; the splitter is already there.

    Raises:
        NotUnderstood: it has settings that the kernel does not know.
    """
    kinds = {"Unigram": _unigram, "BPE": _bpe, "WordPiece": _wordpiece}
    kind = model.get("type")
    if kind not in kinds:
        raise NotUnderstood(f"the model {kind}")
    if sys.byteorder != "little":
        raise NotUnderstood("a big-endian processor")
    sheet.model = list(kinds).index(kind)
    kinds[kind](model, library, sheet)


def _unigram(model: "dict[str, Any]", library: "Tokenizer", sheet: "Sheet") -> None:
    # As the library has read them: the last bit of a score may be another one than Python reads, and decides ties.
    model = json.loads(library.model.__getstate__())
    if model.keys() - {"type", "unk_id", "vocab", "byte_fallback"}:
        raise NotUnderstood("a setting of Unigram")
    entries = model["vocab"]
    scores = array("d", [float(score) for _, score in entries])
    if not all(abs(score) < 1e100 for score in scores):
        raise NotUnderstood("a score that is not finite")
    sheet.sections["SCORES"] = scores.tobytes()
    sheet.unknown = NO_NUMBER if model["unk_id"] is None else token_number(model["unk_id"])
    sheet.unknown_score = min(scores) - 10.0
    numbers = {piece.encode(): number for number, (piece, _) in enumerate(entries)}
    sheet.write_pieces(numbers)
    if model.get("byte_fallback"):
        sheet.options.add("BYTE_FALLBACK")
        sheet.write_bytes(_NAMES_OF_BYTES, numbers)


def _bpe(model: "dict[str, Any]", library: "Tokenizer", sheet: "Sheet") -> None:  # noqa: ARG001
    if model.get("dropout") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise NotUnderstood("a setting of BPE")
    vocabulary: dict[str, int] = model["vocab"]
    merges = {}
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        merges[token_number(vocabulary[left]), token_number(vocabulary[right])] = (
            rank,
            token_number(vocabulary[left + right]),
        )
    sheet.write_merges(merges)
    for name, option in (("fuse_unk", "FUSE_UNKNOWN"), ("byte_fallback", "BYTE_FALLBACK")):
        if model.get(name):
            sheet.options.add(option)
    if model.get("unk_token") is not None:
        sheet.unknown = token_number(vocabulary[model["unk_token"]])
    is_byte_level = "BYTE_LEVEL" in sheet.options
    numbers = {piece.encode(): number for piece, number in vocabulary.items()}
    if is_byte_level:
        if "BYTE_FALLBACK" in sheet.options:
            raise NotUnderstood("bytes for bytes")
        sheet.write_bytes([character.encode() for character in byte_alphabet()], numbers)
        numbers = _in_bytes(vocabulary)
    elif "BYTE_FALLBACK" in sheet.options:
        sheet.write_bytes(_NAMES_OF_BYTES, numbers)
    if model.get("ignore_merges"):
        sheet.options.add("IGNORE_MERGES")
    else:  # then nobody asks for more than the single symbols
        numbers = {} if is_byte_level else {piece: one for piece, one in numbers.items() if len(piece.decode()) == 1}
    sheet.write_pieces(numbers)


def _wordpiece(model: "dict[str, Any]", library: "Tokenizer", sheet: "Sheet") -> None:  # noqa: ARG001
    if model["continuing_subword_prefix"] != "##":
        raise NotUnderstood("a prefix other than ##")
    vocabulary: dict[str, int] = model["vocab"]
    sheet.unknown = token_number(vocabulary[model["unk_token"]])
    sheet.longest_word = token_number(model["max_input_chars_per_word"])
    if not 0 < sheet.longest_word <= _LONGEST_WORD:
        raise NotUnderstood(f"words of {sheet.longest_word} characters")
    sheet.write_pieces({piece.encode(): number for piece, number in vocabulary.items()})


_NAMES_OF_BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]


def byte_alphabet() -> str:
    """Return the characters by which GPT-2 writes the 256 bytes.

    Printable ones of Latin-1 stand for themselves, the others are numbered from U+0100 on.
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in plain else next(others)) for byte in range(256))


def _in_bytes(vocabulary: dict[str, int]) -> dict[bytes, int]:
    """Return a byte-level vocabulary with the bytes that its pieces stand for."""
    bytes_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    return {
        bytes(bytes_of[character] for character in piece): number
        for piece, number in vocabulary.items()
        if bytes_of.keys() >= set(piece)
    }
