"""Prepared tokenizers agree with the library, token for token, or leave a text to it."""

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.text.preparing.comparing import TEXTS
from loader.text.preparing.tables import Tables
from loader.text.wordpiece import NotUnderstood
from tests.support.texts_corpus import varied_texts
from tests.support.tokenizer_files import KINDS, MARK, added, written

_native = pytest.importorskip("loader._native", reason="the kernel is not built: make native")
pytestmark = pytest.mark.process  # it starts none, but asking the library about every character takes as long


class Pair:
    """Tables and library of one tokenizer."""

    def __init__(self, path, **options):
        from loader.text.prepared import Prepared

        tables = Tables(str(path), **options)
        self.content = tables.to_bytes()
        self.library = tables.library
        self.ours = Prepared(self.content)

    def agree(self, text):
        """Compare both; return whether the tables handled the text."""
        try:
            found = self.ours.encode(text)
        except NotUnderstood:
            return False
        assert found == self.library.encode(text, add_special_tokens=False).ids, ascii(text)
        return True


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The path of a tokenizer of each kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    made = {}

    def path_of(kind):
        if kind not in made:
            made[kind] = written(KINDS[kind](), folder / kind)
        return made[kind]

    return path_of


@pytest.fixture(scope="session")
def pairs(files):
    """Tables and library of a kind."""
    made = {}
    return lambda kind: made[kind] if kind in made else made.setdefault(kind, Pair(files(kind)))


kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_varied_texts(pairs, kind):
    handled = [pairs(kind).agree(text) for text in varied_texts(1000, seed=1)]
    assert sum(handled) > 0.98 * len(handled)


@kinds
def test_difficult_texts(pairs, kind):
    handled = [pairs(kind).agree(text) for text in TEXTS]
    assert sum(handled) > 0.8 * len(handled)


ASSIGNED = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in {"Cs", "Cn", "Co"}]


@pytest.mark.slow
@kinds
def test_every_character_of_unicode(pairs, kind):
    """Alone among letters, doubled behind a mark, and with a mark behind: what joins what is seen there."""
    pair, handled = pairs(kind), 0
    for pattern in ("a{0}b", "{0}\u0301{0}\u0323 1{0}", "\u00aa{0}'s {0}."):
        for start in range(0, len(ASSIGNED), 8):
            text = " ".join(pattern.format(character) for character in ASSIGNED[start : start + 8])
            if pair.agree(text):
                handled += 8
            else:
                handled += sum(pair.agree(pattern.format(one)) for one in ASSIGNED[start : start + 8])
    assert handled > 0.99 * 3 * len(ASSIGNED)


MARKS = [character for character in ASSIGNED if unicodedata.combining(character)]
fragments = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["  ", "   ", "\n\n", "\r\n", " \n \n", "'s", "'LL", "'\u017f", MARK, "##", "<s>", "<unk>", "12345"]
    ),
    st.text(st.sampled_from(MARKS), max_size=3),
    st.text(st.sampled_from("aeiou\u0915\u0928\u1eb9\uac00 "), max_size=4),
)


@kinds
@settings(deadline=None, max_examples=300)
@given(parts=st.lists(fragments, max_size=8))
def test_any_text(pairs, kind, parts):
    pairs(kind).agree("".join(parts))


@kinds
def test_random_mixtures_of_pieces(pairs, kind):
    chance = random.Random(kind)
    pair = pairs(kind)
    pieces = [*pair.library.get_vocab(), "\u0301", "\u200d", " ", "\n", "\u00e9", "\U0001f600", "\u0940"]
    for _ in range(3000):
        pair.agree("".join(chance.choices(pieces, k=chance.randint(1, 10))).replace(MARK, " "))


@kinds
def test_a_very_long_word(pairs, kind):
    for text in ("ab" * 20_000, "\u4f60\u597d" * 5_000, " " * 3_000, "\u0301" * 2_000):
        assert pairs(kind).agree(text)


@kinds
def test_the_ends_of_a_text(pairs, kind):
    """Special tokens, and truncation, are the library's."""
    pair = pairs(kind)
    for text in ("", "hello world"):
        whole = pair.library.encode(text).ids
        assert [*pair.ours.prefix, *pair.ours.encode(text), *pair.ours.suffix] == whole


def test_added_tokens_are_found_where_the_library_finds_them(pairs):
    assert pairs("gemma").agree("a\n\n\n\nb<table>c \u2581\u2581 d<s>e</s>")
    assert pairs("modern").agree("def f():\n\n        return  1    # \n\n")
    assert pairs("wordpiece").agree("[CLS] the [MASK][SEP] [mask]")


def test_added_tokens_with_rules_of_their_own_are_the_librarys(pairs):
    assert not pairs("unigram").agree("a <mask> b")
    assert pairs("unigram").agree("a <mas k> b<s>c</s>")


def test_of_overlapping_added_tokens_the_leftmost_and_then_the_longest_counts(tmp_path):
    file = KINDS["byte-level"]()
    number = max(token["id"] for token in file["added_tokens"])
    for index, text in enumerate(["ab", "abc", "bcd", "cd", "\u00e9", "e\u0301"], 1):
        file["added_tokens"].append(added(number + index, text))
    pair = Pair(written(file, tmp_path))
    for text in ("abcd", "xabcdx", "bcdcd", "ababcabcd", "e\u0301\u00e9ab", "aab"):
        assert pair.agree(text)


def test_unknown_characters(tmp_path):
    for fuses in (True, False):
        for kind, without in (("gemma", True), ("unigram", False)):
            file = KINDS[kind]()
            if without:
                file["model"] |= {"byte_fallback": False, "fuse_unk": fuses}
            pair = Pair(written(file, tmp_path / f"{kind}{fuses}"))
            for text in ("\u16a0\u16a1\u16a2 a\u16a0b", "\u16a0", "a\u16a0", "\u16a0\u16a0a\u16a0"):
                assert pair.agree(text)


def test_a_bpe_without_an_unknown_token_drops_what_it_does_not_know(tmp_path):
    file = KINDS["gemma"]()
    file["model"] |= {"byte_fallback": False, "unk_token": None}
    assert Pair(written(file, tmp_path)).agree("a\u16a0b\u16a1")


def test_a_word_that_is_a_piece_needs_no_merges_where_the_file_says_so(tmp_path):
    for kind in ("llama-3", "llama"):
        file = KINDS[kind]()
        longest = sorted(file["model"]["vocab"], key=len)[-40:]
        file["model"] |= {"ignore_merges": True, "merges": file["model"]["merges"][:300]}
        pair = Pair(written(file, tmp_path / kind))
        for piece in longest:
            assert pair.agree(piece.replace("\u0120", " ").replace(MARK, " "))


def test_unigram_with_bytes_for_unknown_characters(tmp_path):
    file = KINDS["unigram"]()
    file["model"]["byte_fallback"] = True
    file["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    pair = Pair(written(file, tmp_path))
    assert all(pair.agree(text) for text in ("\u16a0\u16a1", "a\u16a0", "\U00020000 x"))


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_every_way_of_marking_blanks(tmp_path, scheme, split, first):
    file = KINDS["unigram"]()
    mark = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split}
    parts = [{"type": "WhitespaceSplit"}] * first + [mark]
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
    pair = Pair(written(file, tmp_path))
    for text in (" a b", "a  b ", "\u2581a\u2581\u2581b", "<s>a b</s> c", "a<s> b", "", " ", "\u2581"):
        assert pair.agree(text)


@pytest.mark.parametrize(
    "normalizers",
    [
        [{"type": "NFKC"}, {"type": "Lowercase"}],
        [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}],
        [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Replace", "pattern": {"String": "ab"}, "content": "x"}],
        [{"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Lowercase"}],
        [{"type": "Strip", "strip_left": False, "strip_right": True}],
        [{"type": "Nmt"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": MARK}],
    ],
    ids=lambda parts: "+".join(part["type"] for part in parts),
)
def test_sequences_of_normalizers(tmp_path, normalizers):
    file = KINDS["unigram"]()
    file["normalizer"] = {"type": "Sequence", "normalizers": normalizers}
    pair = Pair(written(file, tmp_path))
    handled = [pair.agree(text) for text in (*varied_texts(400, seed=2), *TEXTS, "  abab  \x1c A\u00c9 \u0130\u03a3 ")]
    assert sum(handled) > 0.9 * len(handled)


@pytest.mark.parametrize(
    "precompiled", [{"a": "b", "A": "", "\u0301": "!"}, {"\u00e9": "e", "e\u0301": "E", "q\u0323": ""}]
)
def test_maps_that_change_ascii_and_marks(tmp_path, precompiled):
    from tests.support.tokenizer_files import charsmap

    file = KINDS["unigram"]()
    file["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap(precompiled)}
    pair = Pair(written(file, tmp_path))
    for text in ("aA\u0301 a\u0301\u0302", "e\u0301\u0302 \u00e9\u0301 q\u0323\u0301 qe", "\r\na\r\n\u0301", *TEXTS):
        pair.agree(text)
    assert pair.agree("aAe q")


def test_a_map_is_applied_to_what_it_was_made_for(pairs):
    """So that the tests of the map do not pass because nothing has an entry."""
    normalise = pairs("unigram").ours._tokens.apply_charsmap
    assert normalise("\u212b\uff21 e\u0301 \u00aa\t1") == "\u00c5A \u00e9 a 1"


def test_damaged_tables_crash_nothing(pairs):
    """Whatever is in the file: an error, or some numbers, but no access to other memory."""
    from loader.text.prepared import Prepared

    chance = random.Random(0)
    for kind in KINDS:
        content = pairs(kind).content
        for _ in range(150):
            damaged = bytearray(content)
            for _ in range(chance.choice([1, 1, 10, 1000])):
                area = chance.choice([64, 300, len(damaged)])
                damaged[chance.randrange(min(area, len(damaged)))] = chance.choice(
                    [0, 1, 0x7F, 0xFF, chance.randrange(256)]
                )
            if chance.random() < 0.2:
                del damaged[chance.randrange(len(damaged)) :]
            try:
                prepared = Prepared(bytes(damaged))
                for text in TEXTS[2:]:
                    prepared.encode(text)
            except (NotUnderstood, UnicodeDecodeError, TypeError, ValueError):
                continue


def test_tables_of_nothing(tmp_path):
    from loader.text.prepared import Prepared

    for content in (b"", b"TOKENS\0\0", bytes(4096)):
        with pytest.raises(NotUnderstood):
            Prepared(content)
    with pytest.raises(ValueError, match="not initialised"):
        _native.Tokens.__new__(_native.Tokens).encode("a", True)
