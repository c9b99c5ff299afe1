"""Settings, layouts and names of files are read as the installed sentence-transformers reads them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from loader import EmbeddingError, LoaderError, ModelCorruptError, ModelUnsupportedError, OptimizedEmbeddingLoader
from tests.loader.engines.comparing import TEXTS, TOLERANCE, assert_equal, in_json, numpy_provider
from tests.support.tiny_models import (
    Tiny,
    edit_json,
    edit_tensors,
    plain_model,
    unit,
)

BERT = Tiny("bert")
DENSE = Tiny("bert", dense=(("Tanh", True),), normalize=True)


def test_weights_with_a_prefix_and_heads(tiny_folder, changed):
    """As a model with a head, such as BertForMaskedLM, saves them."""
    import torch

    for family, prefix in (
        ("bert", "bert."),
        ("roberta", "roberta."),
        ("mpnet", "mpnet."),
        ("distilbert", "distilbert."),
    ):
        folder = tiny_folder(Tiny(family))

        def add(tensors, prefix=prefix):
            for name in list(tensors):
                tensors[prefix + name] = tensors.pop(name)
            tensors["cls.predictions.bias"] = torch.zeros(5)
            tensors["lm_head.dense.weight"] = torch.zeros(5, 5)
            tensors["classifier.weight"] = torch.zeros(5, 5)

        copy = changed(folder, lambda copy, add=add: edit_tensors(copy, add))
        assert np.array_equal(
            numpy_provider(copy).embed_batch(TEXTS[:50]), numpy_provider(folder).embed_batch(TEXTS[:50])
        )
        shutil.rmtree(copy)


def test_the_layout_of_older_models(tiny_folder, changed):
    """The encoder in a folder of its own, names of classes without their package, pooling by flags."""

    def change(folder):
        encoder = folder / "0_Transformer"
        encoder.mkdir()
        for path in list(folder.glob("*")):
            if path.is_file() and path.name not in {"modules.json", "config_sentence_transformers.json"}:
                path.rename(encoder / path.name)
        (encoder / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": false}')
        kinds = ["Transformer", "Pooling"]
        listed = [
            {"idx": n, "name": str(n), "path": f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for n, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(listed))
        pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
        pooling |= {"pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider, plain = numpy_provider(folder), plain_model(folder)
    assert provider.max_seq_length == plain.max_seq_length == 20
    assert provider.dimension == 64
    assert_equal(provider, plain)


@pytest.mark.parametrize(
    "flags",
    [
        {"cls_token": 1, "mean_tokens": 0},
        {"cls_token": "yes", "mean_tokens": None},
        {"cls_token": 0, "mean_tokens": False},
        {"max_tokens": 1.0, "cls_token": True, "unheard_of": False},
        {},
    ],
    ids=str,
)
def test_pooling_flags_are_read_as_by_the_installed_sentence_transformers(flags, tiny_folder, changed):
    from loader.model.config_files import read_facts

    def change(folder, left_out=()):
        pooling = {f"pooling_mode_{name}": value for name, value in flags.items() if name not in left_out}
        settings = {"word_embedding_dimension": 32, **pooling}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider = numpy_provider(folder)
    change(Path(folder), left_out=("unheard_of",))  # not even false is taken by the reference
    plain = plain_model(folder)
    assert provider.dimension == read_facts(folder).embedding_dim == plain.get_embedding_dimension()
    assert np.max(np.abs(provider.embed_batch(TEXTS[:20]) - unit(plain.encode(TEXTS[:20])))) <= TOLERANCE


@pytest.mark.parametrize("mode", [None, [], 1, [1], {}, [["mean"]], True])
def test_a_pooling_mode_that_names_none_is_refused(mode, tiny_folder, changed):
    folder = changed(tiny_folder(BERT), in_json("1_Pooling", "config.json", pooling_mode=mode))
    with pytest.raises(ModelCorruptError, match=r"1_Pooling.config\.json has an invalid pooling_mode"):
        numpy_provider(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "1_Pooling").rename(folder / "1_pooling"),
        lambda folder: (folder / "2_Dense" / "config.json").unlink(),
        lambda folder: edit_json(folder, "2_Dense", "config.json", in_features=None),
        lambda folder: edit_json(folder, "1_Pooling", "config.json", remove=("embedding_dimension",)),
        lambda folder: (folder / "1_Pooling" / "config.json").write_text("{}"),
    ],
)
def test_a_module_without_its_configuration_is_no_guess(change, tiny_folder, changed):
    folder = changed(tiny_folder(DENSE), change)
    with pytest.raises(ModelCorruptError, match=r"config\.json is missing, or has no"):
        numpy_provider(folder)


@pytest.mark.parametrize("value", [0, None, "", "no", 1])
def test_a_bias_is_there_or_not_as_for_the_installed_sentence_transformers(value, tiny_folder, changed):
    tiny = Tiny("bert", dense=(("Tanh", bool(value)),))
    folder = changed(tiny_folder(tiny), in_json("2_Dense", "config.json", bias=value))
    vectors = numpy_provider(folder).embed_batch(TEXTS[:5])
    assert np.max(np.abs(vectors - unit(plain_model(folder).encode(TEXTS[:5])))) <= TOLERANCE


@pytest.mark.parametrize("name", ["sentence_roberta_config.json", "sentence_xlm-roberta_config.json"])
def test_older_names_of_the_settings_file(name, tiny_folder, changed):
    def change(folder, **values):
        (folder / "sentence_bert_config.json").unlink()
        (folder / name).write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False} | values))

    folder = changed(tiny_folder(Tiny("roberta")), change)
    provider, plain = numpy_provider(folder), plain_model(folder)
    assert provider.max_seq_length == plain.max_seq_length == 12
    assert_equal(provider, plain)
    shutil.rmtree(folder)
    folder = changed(tiny_folder(Tiny("roberta")), lambda folder: change(folder, do_lower_case=True))
    with pytest.raises(ModelUnsupportedError, match="do_lower_case"):
        numpy_provider(folder)


@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "query: ", "document": "document: "},
        {"passage": "passage: "},
        {"query": "query: ", "passage": "passage: ", "corpus": "corpus: "},
        {"clustering": "cluster: "},
        {"query": "", "document": "only documents: "},
    ],
    ids=lambda prompts: "-".join(prompts),
)
@pytest.mark.parametrize("default", [None, "last"])
def test_prompts_are_chosen_as_by_the_installed_sentence_transformers(prompts, default, tiny_folder, changed):
    name = default and list(prompts)[-1]

    def change(folder):
        edit_json(folder, "config_sentence_transformers.json", prompts=prompts, default_prompt_name=name)

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider, plain = numpy_provider(folder), plain_model(folder)
    for text in TEXTS[:8]:
        assert np.max(np.abs(provider.embed_query(text) - unit(plain.encode_query(text)))) <= TOLERANCE
        assert np.max(np.abs(provider.embed_chunk(text) - unit(plain.encode_document(text)))) <= TOLERANCE


@pytest.mark.parametrize("engine", ["numpy", "sentence_transformers"])
@pytest.mark.parametrize(
    ("family", "longest", "config"), [("bert", 64, {}), ("roberta", 62, {}), ("roberta", 63, {"pad_token_id": 0})]
)
def test_a_longest_sequence_beyond_the_positions_is_cut_to_them(family, longest, config, engine, tiny_folder, changed):
    """sentence-transformers fails there; the longest text that it takes has the same vector, and everybody says so."""

    def change(folder):
        edit_json(folder, "sentence_bert_config.json", max_seq_length=500)
        edit_json(folder, "config.json", **config)

    folder = changed(tiny_folder(Tiny(family)), change)
    loader = OptimizedEmbeddingLoader(folder, "lazy", "cpu", engine=engine)
    provider = loader.load(timeout=None)
    assert provider.max_seq_length == loader.get_metadata().max_seq_length == longest
    text = "database " * 200
    cut = loader.truncate(text)
    assert loader.count_tokens(cut) == longest
    vectors = provider.embed_batch([text, cut])
    edit_json(folder, "sentence_bert_config.json", max_seq_length=longest)
    plain = plain_model(folder)
    expected = unit(plain.encode([text, cut]))
    assert np.max(np.abs(vectors - expected)) <= TOLERANCE
    assert plain.tokenize([text])["input_ids"].shape[1] == longest


@pytest.mark.parametrize("padding", [0, 3, None])
def test_the_padding_token_that_mpnet_looks_at_is_always_1(padding, tiny_folder, changed):
    folder = changed(tiny_folder(Tiny("mpnet")), in_json("config.json", pad_token_id=padding))
    assert_equal(numpy_provider(folder), plain_model(folder), TEXTS[:40])


@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        ("config.json", {"max_position_embeddings": 63}, "has shape"),
        ("config.json", {"max_position_embeddings": 65}, "has shape"),
        ("1_Pooling/config.json", {"embedding_dimension": 33}, "say 33"),
        ("2_Dense/config.json", {"out_features": 33}, "say 33"),
    ],
)
def test_numbers_that_are_not_those_of_the_weights(where, values, message, tiny_folder, changed):
    tiny = DENSE if "Dense" in where else BERT
    folder = changed(tiny_folder(tiny), in_json(*where.split("/"), **values))
    with pytest.raises(LoaderError, match=message):
        numpy_provider(folder)


def test_a_text_without_tokens_is_an_error_and_not_another_vector(tiny_folder, changed):
    """A tokenizer that adds no special tokens: an empty text has nothing to pool, its neighbours are not affected."""

    def change(folder):
        edit_json(folder, "tokenizer.json", post_processor=None)
        edit_json(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend")

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider = numpy_provider(folder)
    texts = ["database", "connection pool", "a"]
    expected = unit(plain_model(folder).encode(texts))
    assert np.max(np.abs(provider.embed_batch(texts) - expected)) <= TOLERANCE
    for batch in ([""], ["database", "", "a"], ["", ""]):
        with pytest.raises(EmbeddingError):
            provider.embed_batch(batch)


def test_a_tokenizer_file_that_the_configuration_only_repeats_by_default(tiny_folder, changed):
    """transformers builds BERT's tokenizer anew, from tokenizer_config.json and its own defaults."""

    def change(folder):
        path = folder / "tokenizer.json"
        fields = json.loads(path.read_text())
        fields["normalizer"] |= {"lowercase": False}
        path.write_text(json.dumps(fields))
        edit_json(folder, "tokenizer_config.json", remove=("do_lower_case",))

    folder = changed(tiny_folder(BERT), change)
    text = "ALL CAPITALS"
    expected = unit(plain_model(folder).encode(text))
    vector = OptimizedEmbeddingLoader(folder, "lazy", "cpu").load(timeout=None).embed_chunk(text)
    assert vector @ expected >= 0.999999
