"""The engine numpy gives the vectors of plain sentence-transformers, or refuses the model by name."""

import json
import math
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loader import EmbeddingError, LoaderError, ModelUnsupportedError, OptimizedEmbeddingLoader
from loader.encoder.forward import ACTIVATIONS, distance_buckets
from loader.known_models import KNOWN_MODELS
from loader.source import find
from tests.texts_corpus import varied_texts
from tests.tiny_models import (
    FAMILIES,
    LITERAL_SPECIALS,
    OTHERS,
    Tiny,
    edit_json,
    edit_tensors,
    modules,
    plain_model,
    unit,
)

TEXTS = [*varied_texts(200), *LITERAL_SPECIALS, "", "long " * 3000, "x" * 3000, "é" * 500]
TOLERANCE = 2e-6
"""Largest difference of a number of a unit vector: rounding, at most some dozen units in the last place."""
REAL_TEXTS = int(os.environ.get("EQUAL_SAMPLES", "0"))
"""Texts for each real model; 0 stands for what a short run can afford."""


def numpy_provider(folder):
    return OptimizedEmbeddingLoader(str(folder), "lazy", "cpu", engine="numpy").load(timeout=None)


def assert_equal(provider, plain, texts=TEXTS, *, singles=10):
    """The vectors are those of the plain model, in batches of any size and alone; return the largest difference."""
    expected = unit(plain.encode_document(texts))
    largest = 0.0
    for size in (1, 7, 64):
        some = texts if size == 64 else texts[::5]
        wanted = expected if size == 64 else expected[::5]
        vectors = provider.embed_batch(some, batch_size=size)
        assert vectors.shape == wanted.shape
        largest = max(largest, float(np.max(np.abs(vectors - wanted))))
    for text, vector in list(zip(texts, expected, strict=True))[:: len(texts) // singles]:
        largest = max(largest, float(np.max(np.abs(provider.embed_chunk(text) - vector))))
    for text in texts[:: len(texts) // 4]:
        difference = provider.embed_query(text) - unit(plain.encode_query(text))
        largest = max(largest, float(np.max(np.abs(difference))))
    assert largest <= TOLERANCE
    return largest


SAMPLE = [
    *(Tiny(family) for family in FAMILIES),
    Tiny("bert", pooling="cls", normalize=True, layers=1, heads=1),
    Tiny("bert", pooling=("mean", "max"), dense=(("Tanh", True),), normalize=True),
    Tiny("bert", hidden_act="relu", dense=(("Identity", False), ("Tanh", True))),
    Tiny("bert", max_seq_length=None, width=40, heads=5),
    Tiny("bert", config={"layer_norm_eps": 0.01, "type_vocab_size": 5}),
    Tiny("bert", dtype="float16", prompts={"query": "question: ", "document": "some passage: "}),
    Tiny("distilbert", pooling=("cls", "mean_sqrt_len_tokens"), hidden_act="relu", dense=(("GELU", True),)),
    Tiny("distilbert", dtype="bfloat16", max_seq_length=None),
    Tiny("mpnet", pooling="max", hidden_act="gelu_new", dense=(("ReLU", True), ("Identity", True))),
    Tiny("mpnet", max_seq_length=290, positions=300, layers=2),
    Tiny("mpnet", dtype="bfloat16", shards=True),
    Tiny("roberta", pooling="mean_sqrt_len_tokens", dense=(("GELU", False),), normalize=True),
    Tiny("roberta", shards=True, max_seq_length=62, hidden_act="gelu_pytorch_tanh"),
    Tiny("xlm-roberta", pooling=("max", "cls", "mean"), hidden_act="gelu_new", dtype="float16", shards=True),
    Tiny("xlm-roberta", prompts={"query": "query: ", "passage": "passage: "}, seed=3),
]


def described(tiny):
    """A short name of a tiny model: what is not the default."""
    default = Tiny()
    values = (
        getattr(tiny, name) for name in Tiny.__dataclass_fields__ if getattr(tiny, name) != getattr(default, name)
    )
    return "-".join(str(value).replace(" ", "") for value in values) or "bert"


@pytest.mark.parametrize("tiny", SAMPLE, ids=described)
def test_vectors_equal_plain_sentence_transformers(tiny, tiny_folder, record_property):
    folder = tiny_folder(tiny)
    plain, provider = plain_model(folder), numpy_provider(folder)
    assert provider.engine == "numpy"
    assert provider.dimension == plain.get_embedding_dimension()
    assert provider.max_seq_length == plain.max_seq_length
    largest = assert_equal(provider, plain)
    record_property("largest_difference", largest)
    print(f"{described(tiny)}: largest difference {largest:.1e}")
    distinct = unit(plain.encode(TEXTS[:100]))
    assert np.mean(distinct @ distinct.T) < 0.995, "all vectors are alike, so the comparison says nothing"


@pytest.mark.parametrize("tiny", SAMPLE, ids=described)
def test_metadata_tell_the_same_dimension(tiny, tiny_folder):
    from loader.modelfiles import read_facts

    folder = tiny_folder(tiny)
    assert read_facts(folder).embedding_dim == plain_model(folder).get_embedding_dimension()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_matters(family, tiny_folder, changed):
    """The models above would show a weight that is left out: changing any tensor changes the vectors."""
    folder = tiny_folder(Tiny(family))
    before = numpy_provider(folder).embed_batch(TEXTS[:60])
    from loader.encoder.families import FAMILIES as KNOWN
    from loader.safetensors import MappedTensors

    names = sorted(MappedTensors([f"{folder}/model.safetensors"]).names)
    checked = 0
    for name in names:
        if not KNOWN[family].is_used(name) or ".key.bias" in name or ".k.bias" in name or "k_lin.bias" in name:
            continue  # a bias of the keys adds the same to all scores of a query
        copy = Path(changed(folder, lambda copy, n=name: edit_tensors(copy, lambda t: t[n].mul_(-1))))
        after = numpy_provider(copy).embed_batch(TEXTS[:60])
        assert np.max(np.abs(after - before)) > 100 * TOLERANCE, name
        shutil.rmtree(copy)
        checked += 1
    assert checked >= 3 * 15


class TestRealModels:
    pytestmark = pytest.mark.real_model

    @pytest.fixture(params=KNOWN_MODELS)
    def folder(self, request):
        found = find(request.param)
        if found is None:
            pytest.skip(f"{request.param} is not on this machine")
        return found.path

    def test_thousands_of_texts(self, folder, record_property):
        layers = json.loads(Path(folder, "config.json").read_text())["num_hidden_layers"]
        count = REAL_TEXTS or {12: 20}.get(layers, 2000)
        # Short ones first of all: what differs is the kind of text, and long ones take most of the time.
        texts = sorted(varied_texts(3 * count, seed=11), key=len)[:count]
        texts += varied_texts(54, seed=12)[-5:]
        plain, provider = plain_model(folder), numpy_provider(folder)
        expected = unit(plain.encode(texts, batch_size=16))  # it pads each batch to its longest
        vectors = provider.embed_batch(texts, batch_size=64)
        cosines = np.sum(vectors * expected, axis=1)
        largest = float(np.max(np.abs(vectors - expected)))
        record_property("largest_difference", largest)
        print(f"{len(texts)} texts: least cosine {np.min(cosines):.8f}, largest difference {largest:.1e}")
        assert np.min(cosines) >= 0.99999
        assert largest <= TOLERANCE


class TestFunctions:
    @pytest.fixture
    def numbers(self):
        return np.concatenate([np.linspace(-30, 30, 600_001), np.geomspace(1e-30, 1e-3, 1000)]).astype(np.float32)

    @pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
    def test_activation_functions(self, name, numbers):
        from scipy.special import erf

        x = numbers.astype(np.float64)
        expected = {
            "gelu": x * 0.5 * (1 + erf(x / math.sqrt(2))),
            "gelu_tanh": x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            "relu": np.maximum(x, 0),
        }[name]
        result = numbers.copy()
        ACTIVATIONS[name](result)
        assert np.max(np.abs(result - expected)) <= 1e-6
        assert np.max(np.abs(result - expected) / np.maximum(np.abs(x), 1e-30)) <= 2e-6, "small numbers as well"

    @pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
    def test_enormous_numbers_come_out_without_a_warning(self, name):
        x = np.array([1e3, 1e5, 1e10, 1e30, 3e38, np.inf, -1e3, -1e5, -1e10, -1e30, -3e38], np.float32)
        result = x.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ACTIVATIONS[name](result)
        assert np.array_equal(result, np.maximum(x, 0))
        nothing = np.array([np.nan], np.float32)
        ACTIVATIONS[name](nothing)
        assert np.isnan(nothing[0])

    def test_layer_norm(self):
        import torch

        from loader.encoder.forward import Encoder
        from loader.encoder.weights import Norm

        rng = np.random.default_rng(0)

        class Config:
            activation = "gelu"
            epsilon = 1e-5

        encoder = Encoder(Config, None)
        for scale, offset in ((1, 0), (1e-4, 0), (100, 0), (1, 30)):
            x = (rng.normal(size=(384, 50)) * scale + offset).astype(np.float32)
            gain, shift = rng.normal(size=(2, 384)).astype(np.float32)
            tensors = [torch.from_numpy(array).double() for array in (x.T.copy(), gain, shift)]
            expected = torch.nn.functional.layer_norm(tensors[0], (384,), tensors[1], tensors[2], 1e-5).numpy().T
            encoder._normalise(x, Norm(gain, shift))
            assert np.max(np.abs(x - expected)) <= 1e-5 * max(1, offset / scale)

    def test_distance_buckets(self):
        import torch
        from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

        distances = np.arange(-1100, 1101)
        expected = MPNetEncoder.relative_position_bucket(torch.from_numpy(distances), num_buckets=32).numpy()
        assert np.array_equal(distance_buckets(distances), expected)
        assert set(expected.tolist()) == set(range(32)) - {16}, "every bucket is reached"


def test_many_threads_get_the_same_vectors(tiny_folder):
    provider = numpy_provider(tiny_folder(Tiny("mpnet")))
    expected = provider.embed_batch(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: provider.embed_batch(TEXTS), range(16)))
    assert all(np.array_equal(result, expected) for result in results)


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


def test_a_longest_sequence_beyond_the_positions_is_cut_to_them(tiny_folder, changed):
    """sentence-transformers fails there; the longest text that it takes has the same vector."""
    for family, longest in (("bert", 64), ("roberta", 62)):
        folder = changed(
            tiny_folder(Tiny(family)), lambda folder: edit_json(folder, "sentence_bert_config.json", max_seq_length=500)
        )
        cut = Path(folder).with_name("cut")
        shutil.copytree(folder, cut)
        edit_json(cut, "sentence_bert_config.json", max_seq_length=longest)
        text = "database " * 200
        assert numpy_provider(folder).embed_chunk(text) @ unit(plain_model(cut).encode(text)) >= 0.999999
        shutil.rmtree(folder)
        shutil.rmtree(cut)


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


def layers_between(kind):
    """Return a change that puts a module of sentence-transformers between transformer and pooling."""

    def change(folder):
        from sentence_transformers import SentenceTransformer

        parts, plain = modules(), plain_model(folder)
        extra, size = (parts.LSTM(32, 16), 32) if kind == "LSTM" else (parts.CNN(32, 10), 30)
        built = [plain[0], extra, parts.Pooling(size)]
        shutil.rmtree(folder)
        SentenceTransformer(modules=built, device="cpu").save_pretrained(str(folder), create_model_card=False)

    return change


def module_list(change):
    """Return a change of modules.json: ``change(modules)`` in place."""

    def apply(folder):
        path = folder / "modules.json"
        listed = json.loads(path.read_text())
        change(listed)
        path.write_text(json.dumps(listed))

    return apply


def normalize_before_dense(listed):
    listed[2], listed[3] = listed[3], listed[2]


def add_tensor(tensors):
    tensors["encoder.layer.0.adapter.weight"] = tensors["embeddings.LayerNorm.weight"].clone()


def drop_tensor(tensors):
    del tensors["encoder.layer.1.output.dense.bias"]


def cut_tensor(tensors):
    name = "encoder.layer.1.output.dense.bias"
    tensors[name] = tensors[name][:-1].clone()


def in_json(*names, **values):
    return lambda folder: edit_json(folder, *names, **values)


def pickled_dense(folder):
    from safetensors.torch import load_file
    from torch import save

    path = folder / "2_Dense" / "model.safetensors"
    save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


BERT = Tiny("bert")
DENSE = Tiny("bert", dense=(("Tanh", True),), normalize=True)
TOKENIZER = "tokenizer_config.json"
REFUSED = {
    "position_embedding_type": (BERT, in_json("config.json", position_embedding_type="relative_key"), True),
    "is_decoder": (BERT, in_json("config.json", is_decoder=True), True),
    "hidden_act": (BERT, in_json("config.json", hidden_act="silu"), True),
    "hidden_act ": (BERT, in_json("config.json", hidden_act={"name": "gelu"}), False),
    "auto_map": (BERT, in_json("config.json", auto_map={"AutoModel": "modeling.Model"}), True),
    "quantization_config": (BERT, in_json("config.json", quantization_config={"quant_method": "bogus"}), True),
    "weightedmean": (Tiny("bert", pooling="weightedmean"), None, True),
    "lasttoken": (Tiny("roberta", pooling=("mean", "lasttoken")), None, True),
    "include_prompt": (
        Tiny("bert", prompts={"query": "query: ", "document": "passage: "}),
        in_json("1_Pooling", "config.json", include_prompt=False),
        True,
    ),
    "LSTM": (BERT, layers_between("LSTM"), None),
    "CNN": (BERT, layers_between("CNN"), True),
    "my_package.Module": (BERT, module_list(lambda listed: listed[1].update(type="my_package.Module")), False),
    "Normalize, Dense": (DENSE, module_list(normalize_before_dense), True),
    "use_residual": (
        Tiny("bert", dense=(("Tanh", True), ("Tanh", True))),
        in_json("2_Dense", "config.json", use_residual="yes"),
        False,
    ),
    "Sigmoid": (
        DENSE,
        in_json("2_Dense", "config.json", activation_function="torch.nn.modules.activation.Sigmoid"),
        True,
    ),
    "pytorch_model.bin": (DENSE, pickled_dense, True),
    "sets do_lower_case": (BERT, in_json("sentence_bert_config.json", do_lower_case=True), True),
    "truncate_dim": (BERT, in_json("config_sentence_transformers.json", truncate_dim=16), True),
    "adapter_config": (BERT, in_json("adapter_config.json", peft_type="LORA"), False),
    "adapter.weight": (BERT, lambda folder: edit_tensors(folder, add_tensor), True),
    "layer.1.output.dense.bias": (BERT, lambda folder: edit_tensors(folder, drop_tensor), True),
    "layer.1.output.dense.bias' has the shape": (BERT, lambda folder: edit_tensors(folder, cut_tensor), False),
    "num_attention_heads": (BERT, lambda f: edit_json(f, "config.json", remove=("num_attention_heads",)), False),
    "sets do_lower_case to False": (BERT, in_json(TOKENIZER, do_lower_case=False), True),
    "do_lower_case ": (BERT, in_json("tokenizer.json", normalizer=None), True),
    "strip_accents": (BERT, in_json(TOKENIZER, strip_accents=False), True),
    "tokenize_chinese_chars": (Tiny("mpnet"), in_json(TOKENIZER, tokenize_chinese_chars=False), True),
    "truncation_side": (BERT, in_json(TOKENIZER, truncation_side="left"), True),
    "split_special_tokens": (BERT, in_json(TOKENIZER, split_special_tokens=True), True),
    "add_prefix_space": (Tiny("roberta"), in_json(TOKENIZER, add_prefix_space=True), True),
    "cls_token": (BERT, in_json(TOKENIZER, cls_token="[MASK]"), True),
}


class TestRefusedByName:
    """What the engine does not compute, and which engine does."""

    @pytest.mark.parametrize("name", REFUSED)
    def test_a_setting_or_a_tensor(self, name, tiny_folder, changed):
        tiny, change, others_can = REFUSED[name]
        folder = changed(tiny_folder(tiny), change or (lambda folder: None))
        with pytest.raises(ModelUnsupportedError) as refusal:
            numpy_provider(folder)
        assert name.strip() in str(refusal.value)
        self.check_the_other_engine(folder, others_can)

    @pytest.mark.parametrize("family", OTHERS)
    def test_an_architecture(self, family, tiny_folder):
        folder = tiny_folder(Tiny(family))
        with pytest.raises(ModelUnsupportedError, match=f"'{family}'"):
            numpy_provider(folder)
        self.check_the_other_engine(folder, True)

    @staticmethod
    def check_the_other_engine(folder, can):
        """``engine="auto"`` is served by sentence-transformers with its vectors, or refused there as well (False).

        None: it opens, and its own modules then fail on what the transformer gives them.
        """
        loader = OptimizedEmbeddingLoader(folder, "lazy", "cpu")
        if can is False:
            with pytest.raises(LoaderError):
                loader.load(timeout=None)
            return
        provider = loader.load(timeout=None)
        assert provider.engine == "sentence_transformers"
        if can is None:
            return
        plain = plain_model(folder)
        texts = TEXTS[:40]
        assert np.max(np.abs(provider.embed_batch(texts) - unit(plain.encode_document(texts)))) <= TOLERANCE


def test_a_tokenizer_file_that_the_configuration_only_repeats_by_default(tiny_folder, changed):
    """transformers builds BERT's tokenizer anew, from tokenizer_config.json and its own defaults."""

    def change(folder):
        path = folder / "tokenizer.json"
        fields = json.loads(path.read_text())
        fields["normalizer"] |= {"lowercase": False}
        path.write_text(json.dumps(fields))
        edit_json(folder, TOKENIZER, remove=("do_lower_case",))

    folder = changed(tiny_folder(BERT), change)
    text = "ALL CAPITALS"
    expected = unit(plain_model(folder).encode(text))
    vector = OptimizedEmbeddingLoader(folder, "lazy", "cpu").load(timeout=None).embed_chunk(text)
    assert vector @ expected >= 0.999999
