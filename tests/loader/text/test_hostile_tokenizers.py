"""Files that are up to no good end in a typed error or in the library's tokens, in little time and memory."""

import json

import pytest

from tests.support.tokenizer_files import KINDS, MARK, added, written

pytest.importorskip("loader._native", reason="the kernel is not built: make native")
pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def prepares(own_cache, monkeypatch):
    """An empty cache, and tokenizers are prepared."""
    monkeypatch.delenv("EMBEDDING_LOADER_TOKENIZER")


def hostile(change):
    """A tokenizer of some kind, changed."""
    file = KINDS["gemma" if change.__name__ in FOR_BPE else "unigram"]()
    return change(file) or file


def huge_piece(file):
    file["model"]["vocab"].append(["x" * 3_000_000, -1.0])


def many_pieces_with_the_same_hash(file):
    import zlib

    found = [f"{number}" for number in range(3_000_000) if zlib.crc32(b"%d" % number) & 0xFFF == 7]
    file["model"]["vocab"] += [[piece, -20.0] for piece in found]


def duplicate_pieces(file):
    file["model"]["vocab"] += [[piece, score + 1.0] for piece, score in file["model"]["vocab"][10:400]]


def absurd_scores(file):
    for entry in file["model"]["vocab"][10:]:
        entry[1] *= 1e305


def negative_numbers(file):
    file["added_tokens"][0]["id"] = -5


def negative_piece_numbers(file):
    vocabulary = file["model"]["vocab"]
    vocabulary[next(reversed(vocabulary))] = -1


def huge_numbers(file):
    vocabulary = file["model"]["vocab"]
    vocabulary[next(reversed(vocabulary))] = 2**31 + 5


def wrong_types(file):
    file["model"]["vocab"] = {"a": "b"}


def an_unknown_token_out_of_range(file):
    file["model"]["unk_id"] = 10**6


def merges_of_nothing(file):
    file["model"]["merges"].append(["nothing", "here"])


def merges_in_a_circle(file):
    """Two pieces that merge into each other, in every order."""
    vocabulary = file["model"]["vocab"]
    for piece in ("ab", "aba", "abab", "ba", "bab"):
        vocabulary.setdefault(piece, len(vocabulary))
    circle = [["a", "b"], ["b", "a"], ["ab", "ab"], ["ab", "a"], ["a", "ba"], ["b", "ab"]]
    file["model"]["merges"] = circle + file["model"]["merges"]


def a_sequence_in_itself(file):
    inner = {"type": "Sequence", "normalizers": []}
    for _ in range(20_000):
        inner = {"type": "Sequence", "normalizers": [inner]}
    text = json.dumps(file | {"normalizer": None})
    nested = '{"type":"Sequence","normalizers":[' * 20_000 + "]}" * 20_000
    return text.replace('"normalizer": null', f'"normalizer": {nested}', 1)


def a_regex_that_explodes(file):
    file["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "(a|a|a)*(a|a)*\\d"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip


def a_damaged_map(file):
    file["normalizer"]["precompiled_charsmap"] = "AAAA" * 1000


def many_added_tokens(file):
    file["added_tokens"] += [added(5000 + number, f"{MARK}{number}") for number in range(20_000)]


FOR_BPE = {"negative_piece_numbers", "huge_numbers", "merges_of_nothing", "merges_in_a_circle"}
CHANGES = (
    huge_piece, many_pieces_with_the_same_hash, duplicate_pieces, absurd_scores, negative_numbers,
    negative_piece_numbers, huge_numbers, wrong_types, an_unknown_token_out_of_range, merges_of_nothing,
    merges_in_a_circle, a_sequence_in_itself, a_regex_that_explodes, a_damaged_map, many_added_tokens,
)  # fmt: skip

HOSTILE = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, (512 << 20, 512 << 20))
from loader.errors import LoaderError
from loader.text.tokenizer import TextTokenizer
from loader.text.preparing import __main__ as preparing
folder, begun, outcome = sys.argv[1], time.process_time(), []
TEXTS = ("hello world", "ababab aba", "a" * 200, "0 1 2 \\u00e9")
def encoded():
    try:
        tokenizer = TextTokenizer(folder)
        return [tokenizer.encode(text, 64) for text in TEXTS], tokenizer.unprepared
    except LoaderError as error:
        return type(error).__name__, None
import os
os.environ["EMBEDDING_LOADER_TOKENIZER"] = "library"
library, _ = encoded()
del os.environ["EMBEDDING_LOADER_TOKENIZER"]
try:
    reason = preparing.prepare_tokenizer(folder, "hostile")
except LoaderError as error:
    reason = type(error).__name__
tables, unprepared = encoded()
print(json.dumps({"same": library == tables, "reason": reason, "tables": unprepared is None,
                  "error": library if isinstance(library, str) else None, "seconds": time.process_time() - begun}))
"""


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_hostile_tokenizers_end_in_an_error_or_in_the_librarys_tokens(tmp_path, python, change):
    made = hostile(change)
    path = written(KINDS["unigram"](), tmp_path / "model")
    path.write_text(made if isinstance(made, str) else json.dumps(made, ensure_ascii=False), encoding="utf-8")
    (path.parent / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512}))
    (path.parent / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "TokenizersBackend"}))
    ended = python(HOSTILE, str(path.parent), timeout=60)
    assert ended.code == 0, ended.err[-2000:]
    found = ended.json()
    assert found["same"], found
    assert found["reason"] is not None or found["tables"]
    assert found["seconds"] < 30  # one process that does everything twice, on a machine that may be slow


def test_the_hostile_changes_are_what_they_say(tmp_path):
    """So that none of the tests above passes because the library reads something harmless."""
    assert any(len(piece) > 1_000_000 for piece, _ in hostile(huge_piece)["model"]["vocab"])
    assert min(score for _, score in hostile(absurd_scores)["model"]["vocab"]) < -1e300
    assert hostile(negative_numbers)["added_tokens"][0]["id"] < 0
    pieces = [piece for piece, _ in hostile(many_pieces_with_the_same_hash)["model"]["vocab"]]
    assert sum(piece.isdecimal() for piece in pieces) > 700
