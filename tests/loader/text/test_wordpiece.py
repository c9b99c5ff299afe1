"""Our WordPiece agrees with the ``tokenizers`` library token for token, or leaves the text to it."""

import json
import random
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.text.tokenizer import CHARACTERS_PER_TOKEN, TextTokenizer
from loader.text.wordpiece import _ASSIGNED_ALIKE, NotUnderstood, WordPiece
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)
KNOWN_RANGES = [st.characters(min_codepoint=first, max_codepoint=last) for first, last in _ASSIGNED_ALIKE]
LIKELY_TEXT = st.text(alphabet=st.one_of(st.characters(max_codepoint=127), *KNOWN_RANGES), max_size=80)


def make_tokenizer(**options):
    """A small BERT tokenizer of the library, with every ASCII character and some Unicode in its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    rng = random.Random(1)
    alphabet = [chr(code) for code in range(33, 127)] + list("äöüßéñçøœłжщэяαβγ数据库データ는을“”…€→")
    pieces += alphabet + [f"##{character}" for character in alphabet]
    pieces += ["".join(rng.choices("abcdefghijklm", k=rng.randint(2, 6))) for _ in range(300)]
    pieces += ["##" + "".join(rng.choices("abcdefghijklm", k=rng.randint(2, 4))) for _ in range(300)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(
        **{"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True} | options
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", AddedToken("[MASK]", lstrip=True)])
    return tokenizer


VARIANTS = {
    "lower": {},
    "cased": {"lowercase": False},
    "lower with accents": {"strip_accents": False},
    "cased without accents": {"lowercase": False, "strip_accents": True},
    "chinese in words": {"handle_chinese_chars": False},
}


def make_pair(variant, folder):
    """The library's tokenizer and ours, of the same file."""
    library = make_tokenizer(**VARIANTS[variant])
    library.save(str(folder / "tokenizer.json"))
    return library, WordPiece(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request, tmp_path_factory):
    """The two tokenizers, for each variant of the normalizer."""
    return make_pair(request.param, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def real(minilm_folder):
    """The same for the real MiniLM."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    return library, WordPiece(str(minilm_folder / "tokenizer.json"))


def expected(library, text):
    return library.encode(text, add_special_tokens=False).ids


def agree(pair, text):
    """Whether ours took the text; fails where the two differ."""
    library, ours = pair
    try:
        numbers = ours.encode(text)
    except NotUnderstood:
        return False
    assert numbers == expected(library, text), ascii(text)
    return True


@settings(deadline=None, max_examples=1000)
@given(text=LIKELY_TEXT)
def test_text_of_known_characters(pair, text):
    agree(pair, text)


@settings(deadline=None, max_examples=500)
@given(text=ANY_TEXT)
def test_any_unicode(pair, text):
    agree(pair, text)


@settings(deadline=None, max_examples=1000)
@given(text=st.one_of(LIKELY_TEXT, ANY_TEXT))
def test_any_unicode_with_the_real_vocabulary(real, text):
    agree(real, text)


def test_random_texts_of_words_and_marks(real):
    """Hundreds of thousands of words: pieces of the vocabulary, glued, cased and decorated at random."""
    rng = random.Random(7)
    pieces = [piece.removeprefix("##") for piece in real[0].get_vocab()]
    marks = ["", " ", "  ", "\n", "\t", "-", "'", ".", "/", "_", "\u00a0", "\u0301", "é", "Ö", "ß", "中", "ー", "“"]
    taken = 0
    for _ in range(20_000):
        words = rng.choices(pieces, k=rng.randint(0, 25))
        text = "".join((word.upper() if rng.random() < 0.2 else word) + rng.choice(marks) for word in words)
        taken += agree(real, text)
    assert taken > 5_000, "most texts must not be left to the library, or this test says nothing"


@pytest.mark.parametrize("variant", representative({"lower"}, VARIANTS))
def test_every_character_that_is_taken(variant, tmp_path):
    """Alone, within a word and between words: the normalizers of both must agree on each code point."""
    pair = make_pair(variant, tmp_path)
    ours = pair[1]
    taken = 0
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        try:
            ours._map[code]
        except NotUnderstood:
            continue
        taken += agree(pair, f"ab{chr(code)}cd {chr(code)} {chr(code)}{chr(code)}")
    assert taken > 30_000


def test_ordinary_texts_need_no_library(real):
    for text in ("database connection", "Où est la bibliothèque ?", "東京は日本の首都です。", "naïve 5 €", "", " \n"):
        assert agree(real, text)


@pytest.mark.parametrize(
    "text", ["a [SEP] b", "[CLS]", "x[MASK]", "🙂", "\u0e01", "\u200b", "\ue000", "\u0378"], ids=ascii
)
def test_texts_for_the_library(real, text):
    with pytest.raises(NotUnderstood):
        real[1].encode(text)


WAYS = ("searching", "noting places", "reading")


def look_up(monkeypatch, way):
    """Have pieces looked up in this way from the first one on."""
    if way != "searching":
        monkeypatch.setattr("loader.text.wordpiece._SEARCHED", -1)
    if way == "reading":
        monkeypatch.setattr("loader.text.wordpiece._Places", None)


def test_the_kernel_notes_places(minilm_folder, monkeypatch):
    pytest.importorskip("loader._native", reason="the kernel is not built: make native")
    look_up(monkeypatch, "noting places")
    ours = WordPiece(str(minilm_folder / "tokenizer.json"))
    assert ours.encode("database") == [7809]
    assert ours._places is not None
    assert ours._pieces is None


def test_searching_and_reading_find_the_same(minilm_folder, monkeypatch):
    texts = varied_texts(150)
    path = str(minilm_folder / "tokenizer.json")

    def run():
        ours, numbers = WordPiece(path), []
        for text in texts:
            try:
                numbers.append(ours.encode(text))
            except NotUnderstood:
                numbers.append(None)
        return numbers

    monkeypatch.setattr("loader.text.wordpiece._SEARCHED", 10**9)
    searched = run()
    for way in WAYS[1:]:
        look_up(monkeypatch, way)
        assert searched == run()


def test_pieces_with_quotes_and_backslashes_are_found(pair):
    for text in ('say "a"', "back\\slash", '\\"', '"""\\\\'):
        assert agree(pair, text)


def test_the_whole_encoding_with_special_tokens_and_truncation(minilm_folder):
    from tokenizers import Tokenizer

    ours = TextTokenizer(str(minilm_folder))
    for limit in (None, 2, 3, 17, 256):
        library = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
        library.no_padding()
        library.no_truncation() if limit is None else library.enable_truncation(limit)
        for text in varied_texts(200):
            assert ours.encode(text, limit) == library.encode(text).ids


def unigram():
    """A tokenizer like XLM-R's, trained on our texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(varied_texts(300), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 0), ("</s>", 2)])
    return tokenizer


def byte_pairs():
    """A tokenizer like RoBERTa's, trained on our texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "<pad>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(varied_texts(300), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


@pytest.mark.parametrize("make", [make_tokenizer, unigram, byte_pairs])
def test_long_text_is_cut_without_changing_the_result(make, tmp_path, monkeypatch):
    library = make()
    library.save(str(tmp_path / "tokenizer.json"))
    ours = TextTokenizer(str(tmp_path))
    read = []
    real_first = "loader.text.tokenizer._cut"
    from loader.text import tokenizer as module

    cut = module._cut
    monkeypatch.setattr(real_first, lambda text, size: read.append(cut(text, size)) or read[-1])
    rng = random.Random(3)
    words = " ".join(varied_texts(120)).split(" ")
    library.no_truncation()
    for limit in (3, 16, 64):
        for separator in (" ", "  ", "\n", ""):
            text = separator.join(rng.choices(words, k=3000))
            full = library.encode(text, add_special_tokens=False)
            full.truncate(limit - 2)
            assert ours.encode(text, limit) == library.post_process(full).ids
            assert len(text) > 2 * CHARACTERS_PER_TOKEN * limit
    assert any(read), "no text was ever cut"


def test_a_text_without_a_place_to_cut(minilm_folder):
    ours = TextTokenizer(str(minilm_folder))
    for text in ("x" * 200_000, " " * 200_000 + "end", "é" * 50_000, "\u200b" * 100_000 + " end"):
        assert ours.encode(text, 256)[0] == 101


def test_many_threads_ask_a_new_tokenizer(minilm_folder):
    texts = varied_texts(120)
    ours = TextTokenizer(str(minilm_folder))
    expected_numbers = [TextTokenizer(str(minilm_folder)).encode(text, 256) for text in texts]
    results = []
    threads = [threading.Thread(target=lambda: results.append([ours.encode(t, 256) for t in texts])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected_numbers] * 8


def rewritten(folder, change):
    """Save a tokenizer whose JSON was changed; return its path."""
    make_tokenizer().save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer.json").read_text())
    text = change(settings)
    (folder / "tokenizer.json").write_text(text if isinstance(text, str) else json.dumps(settings))
    return str(folder / "tokenizer.json")


def test_a_file_written_with_other_spaces_is_understood(tmp_path):
    for indent in (None, 2):
        path = rewritten(tmp_path, lambda s, i=indent: json.dumps(s, indent=i, ensure_ascii=False))
        ours = WordPiece(path)
        assert ours.encode("a database") == expected(make_tokenizer(), "a database")


def in_vocabulary(entries):
    """Return a change: what stands before the end of the vocabulary, as it is written in the file."""
    return lambda s: json.dumps(s, ensure_ascii=False).removesuffix("}}}") + f", {entries}" + "}}}"


SAME_AS_A_READER_OF_JSON = {
    "a piece twice": in_vocabulary('"database": 7, "connection": 8, "database": 9'),
    "a piece of the alphabet twice": in_vocabulary('"d": 7'),
    "blanks before a colon": in_vocabulary('"database" : 7, "connection"\t\n:\r8'),
    "blanks before a colon, once": in_vocabulary('"database": 7, "database" : 8'),
    "an empty piece": in_vocabulary('"": 7'),
    "braces in pieces": in_vocabulary('"}": 7, "{": 8, "##}": 9, "}##": 10'),
    "a piece that ends as another": in_vocabulary('"database": 7, "x\\"database": 8, ", \\"database": 9'),
    "a vocabulary twice": lambda s: (
        json.dumps(s, ensure_ascii=False).removesuffix("}}") + ', "vocab": {"[UNK]": 1, "database": 2, "##base": 3}}}'
    ),
    "a vocabulary twice, with an empty object": lambda s: (
        json.dumps(s, ensure_ascii=False).removesuffix("}}") + ', "vocab": {"[UNK]": 1, "database": 2}, "more": {}}}'
    ),
    "slashes that are escaped": in_vocabulary('"\\/": 7'),
    "a normalised token that punctuation splits": lambda s: s["added_tokens"].append(
        dict(s["added_tokens"][0], content="É.b", normalized=True, id=999)
    ),
    "a normalised token without its accent": lambda s: s["added_tokens"].append(
        dict(s["added_tokens"][0], content="É", normalized=True, id=999)
    ),
    "a token of which lower case is another": lambda s: s["added_tokens"].append(
        dict(s["added_tokens"][0], content="ΑΣ", normalized=False, id=999)
    ),
}
TEXTS = [
    "database",
    "a database connection",
    "d / } { }} x}",
    "Hello e.b",
    "é.B",
    "ΑΣ ΑΣΑ",
    'x"database, "database',
    "ab",
]


@pytest.mark.parametrize("change", SAME_AS_A_READER_OF_JSON.values(), ids=SAME_AS_A_READER_OF_JSON)
@pytest.mark.parametrize("way", WAYS)
def test_a_file_means_what_the_library_reads(tmp_path, monkeypatch, change, way):
    """However odd the file: the pieces are those of the library, or the file is left to it."""
    from tokenizers import Tokenizer

    look_up(monkeypatch, way)
    path = rewritten(tmp_path, change)
    try:
        pair = Tokenizer.from_file(path), WordPiece(path)
    except NotUnderstood:
        return
    for text in TEXTS:
        agree(pair, text)


@pytest.mark.parametrize("number", ["-7", "7.0", "7e0", "null", '"7"', "[7]", "true", "4294967296", "10000000000000"])
@pytest.mark.parametrize("way", WAYS)
def test_a_number_that_is_none_is_left_to_the_library(tmp_path, monkeypatch, number, way):
    look_up(monkeypatch, way)
    with pytest.raises(NotUnderstood):
        WordPiece(rewritten(tmp_path, in_vocabulary(f'"database": {number}, "x": 7'))).encode("a database")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["normalizer"].update(type="NFC"),
        lambda s: s["normalizer"].update(unknown_option=True),
        lambda s: s["normalizer"].update(clean_text=False),
        lambda s: s["normalizer"].update(lowercase="yes"),
        lambda s: s.update(normalizer=None),
        lambda s: s.update(pre_tokenizer={"type": "Whitespace"}),
        lambda s: s.update(post_processor=None),
        lambda s: s["post_processor"]["single"].pop(1),
        lambda s: s["post_processor"]["single"].append({"Sequence": {"id": "B", "type_id": 1}}),
        lambda s: s["model"].pop("unk_token"),
        lambda s: s["model"].update(unk_token="not there"),
        lambda s: s["model"].update(type="BPE"),
        lambda s: s["added_tokens"].append(dict(s["added_tokens"][0], content="")),
        lambda s: s["added_tokens"].append(dict(s["added_tokens"][0], content=5)),
        lambda s: s["added_tokens"][0].pop("content"),
        lambda s: s["added_tokens"][0].pop("normalized"),
        lambda s: s["added_tokens"][0].update(id=-1),
        lambda s: s["added_tokens"][0].update(id="0"),
        lambda s: s.update(added_tokens=5),
        lambda s: s.update(added_tokens=["[PAD]"]),
        lambda s: s.update(added_tokens=None),
        lambda s: s.pop("added_tokens"),
        lambda s: s.pop("post_processor"),
        lambda s: s["post_processor"]["special_tokens"]["[CLS]"].update(ids=[-1]),
        lambda s: s["post_processor"]["special_tokens"]["[CLS]"].update(ids=["2"]),
        lambda s: s["post_processor"]["special_tokens"]["[CLS]"].update(ids=[2.0]),
        lambda s: s["post_processor"]["special_tokens"].pop("[CLS]"),
        lambda s: s["post_processor"]["single"][1]["Sequence"].update(id="B"),
        lambda s: s["post_processor"]["single"][0]["SpecialToken"].update(type_id=1),
        lambda s: s["model"].update(max_input_chars_per_word="100"),
        lambda s: s["model"].update(max_input_chars_per_word=-1),
        lambda s: s["model"].update(continuing_subword_prefix=5),
        lambda s: s["model"].update(unk_token=["[UNK]"]),
        lambda s: s["model"]["vocab"].update({"[UNK]": -1}),
        lambda s: json.dumps(s)[:-1],
        lambda s: json.dumps(s)[:4000],
        lambda s: json.dumps(s, ensure_ascii=True),
        lambda s: json.dumps(dict(reversed(s.items()))),
        lambda s: "[]",
        lambda s: "",
    ],
)
def test_what_is_not_exactly_berts_is_left_to_the_library(tmp_path, change):
    with pytest.raises(NotUnderstood):
        WordPiece(rewritten(tmp_path, change))
