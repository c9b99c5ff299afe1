"""Wherever tokenizers have kept their settings: what transformers makes of them is honoured, or refused by name."""

import json
import warnings

import numpy as np
import pytest

from loader import LoaderError, ModelCorruptError, ModelUnsupportedError, OptimizedEmbeddingLoader
from tests.support.tiny_models import Tiny, edit_json, edit_tensors, plain_model, unit

TEXTS = [
    "database connection",
    "A sample of ÀCCENTS, 東京 and <new> [NEW] tokens",
    "x [MASK] y <mask>  z",
    "long " * 100,
]
TOLERANCE = 2e-6
BERT, MPNET, ROBERTA, XLM_R = (Tiny(family) for family in ("bert", "mpnet", "roberta", "xlm-roberta"))
CONFIG = "tokenizer_config.json"


def in_tokenizer(change):
    """Return a change of tokenizer.json: ``change(fields)`` in place."""

    def apply(folder):
        path = folder / "tokenizer.json"
        fields = json.loads(path.read_text())
        change(fields)
        path.write_text(json.dumps(fields, ensure_ascii=False))

    return apply


def without_decoder(*others):
    """Return a change: the added tokens are not in tokenizer_config.json, as before 2023, and further changes."""

    def apply(folder):
        fields = json.loads((folder / CONFIG).read_text())
        fields.pop("added_tokens_decoder", None)
        (folder / CONFIG).write_text(json.dumps(fields))
        for other in others:
            other(folder)

    return apply


def write(name, **values):
    return lambda folder: edit_json(folder, name, **values)


def decoder(**changes):
    """Return a change of the first tokens of added_tokens_decoder."""

    def apply(folder):
        fields = json.loads((folder / CONFIG).read_text())
        known = fields.get("added_tokens_decoder") or {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        }
        fields["added_tokens_decoder"] = {**known, **changes}
        (folder / CONFIG).write_text(json.dumps(fields))

    return apply


def more_vectors(folder):
    """Give the encoder vectors for tokens beyond its vocabulary."""

    def enlarge(tensors):
        import torch

        name = "embeddings.word_embeddings.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name][:4]])
        edit_json(folder, "config.json", vocab_size=len(tensors[name]))

    edit_tensors(folder, enlarge)


def token(content, **flags):
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {**plain, "content": content, **flags}


def left(fields):
    fields["truncation"] = {"direction": "Left", "max_length": 48, "strategy": "LongestFirst", "stride": 0}


REFUSED = {
    "truncation of tokenizer.json": (BERT, in_tokenizer(left), "truncation_side to 'left'"),
    "truncation of tokenizer.json, RoBERTa": (ROBERTA, in_tokenizer(left), "truncation_side to 'left'"),
    "added_tokens.json": (BERT, without_decoder(write("added_tokens.json", **{"<new>": 700})), "'<new>'"),
    "added_tokens.json, RoBERTa": (ROBERTA, without_decoder(write("added_tokens.json", **{"<new>": 700})), "'<new>'"),
    "added_tokens_decoder": (BERT, decoder(**{"700": token("[NEW]")}), "[NEW]"),
    "added_tokens_decoder, XLM-R": (XLM_R, decoder(**{"700": token("[NEW]")}), "[NEW]"),
    "flags of an added token": (MPNET, decoder(**{"4": token("<mask>", special=True)}), "<mask>"),
    "a token that only tokenizer.json has": (
        BERT,
        lambda folder: (
            decoder()(folder),
            in_tokenizer(lambda f: f["added_tokens"].append({"id": 99, **token("connection")}))(folder),
        ),
        "only tokenizer.json has the added token 'connection'",
    ),
    "special_tokens_map.json": (
        BERT,
        without_decoder(write("special_tokens_map.json", cls_token="[MASK]")),
        "cls_token to '[MASK]'",
    ),
    "additional_special_tokens": (BERT, write(CONFIG, additional_special_tokens=["<new>"]), "'<new>'"),
    "extra_special_tokens": (BERT, write(CONFIG, extra_special_tokens={"new_token": "<new>"}), "'<new>'"),
    "extra_special_tokens of the older file": (
        BERT,
        without_decoder(write("special_tokens_map.json", additional_special_tokens=["<new>"])),
        "'<new>'",
    ),
    "a token of the model's own": (BERT, write(CONFIG, odd_token="<new>"), "'<new>'"),
    "unk_token": (BERT, write(CONFIG, unk_token="[MASK]"), "unk_token"),
    "longest word": (BERT, in_tokenizer(lambda f: f["model"].update(max_input_chars_per_word=5)), "max_input_chars"),
    "prefix": (BERT, in_tokenizer(lambda f: f["model"].update(continuing_subword_prefix="@@")), "continuing_subword"),
    "no post-processor": (BERT, in_tokenizer(lambda f: f.update(post_processor=None)), "cls_token"),
    "other special tokens": (
        BERT,
        in_tokenizer(lambda f: f["post_processor"]["special_tokens"]["[CLS]"].update(ids=[7])),
        "cls_token",
    ),
    "no pre-tokenizer": (
        BERT,
        in_tokenizer(lambda f: f.update(pre_tokenizer={"type": "WhitespaceSplit"})),
        "pre_tokenizer",
    ),
    "normalizer, RoBERTa": (ROBERTA, in_tokenizer(lambda f: f.update(normalizer={"type": "Lowercase"})), "normalizer"),
    "regular expression, RoBERTa": (
        ROBERTA,
        in_tokenizer(lambda f: f["pre_tokenizer"].update(use_regex=False)),
        "use_regex",
    ),
    "normalizer, XLM-R": (XLM_R, in_tokenizer(lambda f: f.update(normalizer={"type": "Lowercase"})), "normalizer"),
    "unknown piece, XLM-R": (XLM_R, in_tokenizer(lambda f: f["model"].update(unk_id=7)), "unk_id"),
    "another file": (BERT, write(CONFIG, fast_tokenizer_files=["tokenizer.4.0.0.json"]), "fast_tokenizer_files"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_is_not_tokenizer_jsons_is_left_to_sentence_transformers(name, tiny_folder, changed):
    tiny, change, message = REFUSED[name]
    folder = changed(tiny_folder(tiny), lambda folder: (more_vectors(folder), change(folder)))
    with pytest.raises(ModelUnsupportedError) as refusal:
        OptimizedEmbeddingLoader(folder, engine="numpy").load(timeout=None)
    assert message in str(refusal.value)
    loader = OptimizedEmbeddingLoader(folder, device="cpu")
    for count in (loader.count_tokens, loader.truncate):
        with pytest.raises(ModelUnsupportedError):
            count("text")
    provider = loader.load(timeout=None)
    assert provider.engine == "sentence_transformers"
    assert np.max(np.abs(provider.embed_batch(TEXTS) - unit(plain_model(folder).encode(TEXTS)))) <= TOLERANCE


AGREEING = {
    # As in older files, such as bge-m3's: the class cuts at blanks all the same.
    "pre-tokenizer, XLM-R": (
        XLM_R,
        in_tokenizer(lambda f: f.update(pre_tokenizer=f["pre_tokenizer"]["pretokenizers"][1])),
    ),
    "no added_tokens_decoder": (BERT, without_decoder()),
    "added_tokens.json that repeats": (BERT, without_decoder(write("added_tokens.json", **{"[MASK]": 4}))),
    "an empty added_tokens.json": (MPNET, without_decoder(write("added_tokens.json"))),
    "special_tokens_map.json that repeats": (
        BERT,
        without_decoder(
            write("special_tokens_map.json", cls_token={"content": "[CLS]", "lstrip": False}, mask_token="[MASK]")
        ),
    ),
    "older files beside added_tokens_decoder": (
        BERT,
        lambda folder: (
            decoder()(folder),
            write("special_tokens_map.json", cls_token="[MASK]")(folder),
            write("added_tokens.json", **{"<new>": 700})(folder),
        ),
    ),
    "a new token everywhere": (
        BERT,
        lambda folder: (
            decoder(**{"700": token("<new>", normalized=True)})(folder),
            in_tokenizer(lambda f: f["added_tokens"].append({"id": 700, **token("<new>", normalized=True)}))(folder),
        ),
    ),
    "as it is": (
        BERT,
        lambda folder: (
            write(CONFIG, tokenizer_class="PreTrainedTokenizerFast")(folder),
            in_tokenizer(lambda f: f["model"].update(max_input_chars_per_word=5))(folder),
            in_tokenizer(lambda f: f.update(post_processor=None))(folder),
        ),
    ),
    "no class, and no settings": (ROBERTA, lambda folder: (folder / CONFIG).write_text('{"model_max_length": 48}')),
    "truncation to the right": (BERT, in_tokenizer(lambda f: (left(f), f["truncation"].update(direction="Right")))),
    "padding to the left": (
        BERT,
        in_tokenizer(
            lambda f: f.update(
                padding={
                    "strategy": {"Fixed": 60},
                    "direction": "Left",
                    "pad_to_multiple_of": None,
                    "pad_id": 0,
                    "pad_type_id": 0,
                    "pad_token": "[PAD]",
                }
            )
        ),
    ),
    "other vocabularies": (
        BERT,
        lambda folder: ((folder / "vocab.txt").write_text("a\nb\n"), (folder / "vocab.json").write_text('{"a": 0}')),
    ),
}


@pytest.mark.parametrize("name", AGREEING)
def test_what_says_the_same_is_understood(name, tiny_folder, changed):
    tiny, change = AGREEING[name]
    folder = changed(tiny_folder(tiny), lambda folder: (more_vectors(folder), change(folder)))
    provider = OptimizedEmbeddingLoader(folder, engine="numpy").load(timeout=None)
    # Alone: beside others, texts that are padded on the left have other positions.
    plain = plain_model(folder)
    expected = unit(np.concatenate([plain.encode([text]) for text in TEXTS]))
    assert np.max(np.abs(provider.embed_batch(TEXTS) - expected)) <= TOLERANCE


NONSENSE = {
    "added tokens that are a number": lambda f: f.update(added_tokens=5),
    "added tokens that are texts": lambda f: f.update(added_tokens=["[PAD]"]),
    "no added tokens": lambda f: f.pop("added_tokens"),
    "a negative number": lambda f: f["added_tokens"][0].update(id=-1),
    "a number that is a text": lambda f: f["added_tokens"][0].update(id="0"),
    "a token without text": lambda f: f["added_tokens"][0].pop("content"),
    "no post-processor": lambda f: f.pop("post_processor"),
    "a post-processor that is a number": lambda f: f.update(post_processor=5),
    "special tokens of negative numbers": lambda f: f["post_processor"]["special_tokens"]["[CLS]"].update(ids=[-1]),
    "special tokens that are missing": lambda f: f["post_processor"].update(special_tokens={}),
    "a pair's second text": lambda f: f["post_processor"]["single"][1]["Sequence"].update(id="B"),
    "no vocabulary": lambda f: f["model"].pop("vocab"),
    "an empty vocabulary": lambda f: f["model"].update(vocab={}),
    "a vocabulary of texts": lambda f: f["model"]["vocab"].update(database="7"),
    "a vocabulary of negative numbers": lambda f: f["model"]["vocab"].update(database=-7),
    "no model": lambda f: f.pop("model"),
    "a model that is a text": lambda f: f.update(model="WordPiece"),
    "a normalizer that is a list": lambda f: f.update(normalizer=[]),
    "an unknown token that is a number": lambda f: f["model"].update(unk_token=5),
    "a truncation that is a text": lambda f: f.update(truncation="Left"),
}
METHODS = ("count_tokens", "truncate", "embed_query", "embed_chunk", "embed_batch", "embed_stream", "warm_up")


def call(loader, method, text):
    if method in {"count_tokens", "truncate"}:
        return getattr(loader, method)(text)
    provider = loader.load(timeout=None)
    if method == "warm_up":
        return provider.warm_up()
    if method == "embed_stream":
        return list(provider.embed_stream([text]))
    return getattr(provider, method)([text] if method == "embed_batch" else text)


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_in_tokenizer_json_is_a_typed_error_of_every_method(name, tiny_folder, changed):
    folder = changed(tiny_folder(BERT), in_tokenizer(NONSENSE[name]))
    failed = 0
    for method in METHODS:
        for text in ("a database", "\N{GRINNING FACE}"):
            try:
                call(OptimizedEmbeddingLoader(folder, engine="numpy"), method, text)
            except LoaderError:
                failed += 1
    # A number is read when its piece is looked for, and the text of warm_up has other ones.
    lazily = 2 if name.startswith("a vocabulary of") else 0
    assert failed == 2 * len(METHODS) - lazily


@pytest.mark.parametrize("engine", ["numpy", "sentence_transformers"])
def test_a_panic_of_the_tokenizers_library_is_a_typed_error(engine, tiny_folder, changed):
    """A post-processor that asks for a second text, which no single one has: the library panics on every text."""

    def change(folder):
        in_tokenizer(lambda f: f["post_processor"]["single"][1]["Sequence"].update(id="B"))(folder)
        edit_json(folder, CONFIG, tokenizer_class="TokenizersBackend")

    folder = changed(tiny_folder(BERT), change)
    for method in METHODS:
        loader = OptimizedEmbeddingLoader(folder, engine=engine, device="cpu")
        with pytest.raises(LoaderError):
            call(loader, method, "\N{GRINNING FACE}")


@pytest.mark.parametrize(
    ("file", "values"),
    [
        (CONFIG, {"added_tokens_decoder": 5}),
        (CONFIG, {"added_tokens_decoder": {"x": token("[PAD]")}}),
        (CONFIG, {"added_tokens_decoder": {"0": "[PAD]"}}),
        (CONFIG, {"tokenizer_class": 5}),
        (CONFIG, {"tokenizer_class": ["BertTokenizer"]}),
        (CONFIG, {"cls_token": 5}),
        (CONFIG, {"additional_special_tokens": 5}),
        (CONFIG, {"additional_special_tokens": [5]}),
        (CONFIG, {"extra_special_tokens": [{"content": 5}]}),
        (CONFIG, {"do_lower_case": [True]}),
        (CONFIG, {"truncation_side": {}}),
        ("sentence_bert_config.json", {"max_seq_length": 1}),
        ("tokenizer_config.json", {"model_max_length": 1}),
    ],
    ids=str,
)
def test_nonsense_in_other_files_is_a_typed_error(file, values, tiny_folder, changed):
    folder = changed(tiny_folder(BERT), write(file, **values))
    for method in ("count_tokens", "embed_query"):
        with pytest.raises((ModelCorruptError, ModelUnsupportedError)):
            call(OptimizedEmbeddingLoader(folder, engine="numpy"), method, "text")


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", CONFIG])
@pytest.mark.parametrize("content", ["", "[1]", "5", "{", '{"x": 1', "\0"])
def test_damage_in_other_files_is_a_typed_error(name, content, tiny_folder, changed):
    def change(folder):
        without_decoder()(folder)
        (folder / name).write_text(content)

    folder = changed(tiny_folder(BERT), change)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in ("count_tokens", "embed_query"):
            with pytest.raises(ModelCorruptError, match=name):
                call(OptimizedEmbeddingLoader(folder, engine="numpy"), method, "text")
