"""The engine numpy gives the vectors of plain sentence-transformers."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from loader.model.config_files import read_facts
from loader.model.known_models import KNOWN_MODELS
from loader.model.source import find
from tests.loader.engines.comparing import TEXTS, TOLERANCE, assert_equal, numpy_provider
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative
from tests.support.tiny_models import FAMILIES, Tiny, edit_tensors, plain_model, unit

REAL_TEXTS = int(os.environ.get("EQUAL_SAMPLES", "0"))
"""Texts for each real model; 0 stands for what a short run can afford."""
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
CHOSEN = [SAMPLE[number] for number in (0, 5, 6, 11, 13, 17, 18)]
"""Among them are each family, way of pooling and activation, Dense modules, shards, and weights of 16 bits."""


def described(tiny):
    """A short name of a tiny model: what is not the default."""
    default = Tiny()
    values = (
        getattr(tiny, name) for name in Tiny.__dataclass_fields__ if getattr(tiny, name) != getattr(default, name)
    )
    return "-".join(str(value).replace(" ", "") for value in values) or "bert"


@pytest.mark.parametrize("tiny", representative(CHOSEN, SAMPLE), ids=described)
def test_vectors_equal_plain_sentence_transformers(tiny, tiny_folder, record_property):
    folder = tiny_folder(tiny)
    plain, provider = plain_model(folder), numpy_provider(folder)
    assert provider.engine == "numpy"
    assert provider.dimension == read_facts(folder).embedding_dim == plain.get_embedding_dimension()
    assert provider.max_seq_length == plain.max_seq_length
    largest = assert_equal(provider, plain)
    record_property("largest_difference", largest)
    print(f"{described(tiny)}: largest difference {largest:.1e}")
    distinct = unit(plain.encode(TEXTS[:100]))
    assert np.mean(distinct @ distinct.T) < 0.995, "all vectors are alike, so the comparison says nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_matters(family, tiny_folder, changed):
    """The models above would show a weight that is left out: changing any tensor changes the vectors."""
    folder = tiny_folder(Tiny(family))
    before = numpy_provider(folder).embed_batch(TEXTS[:60])
    from loader.encoder.families import FAMILIES as KNOWN
    from loader.model.safetensors import MappedTensors

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


@pytest.mark.slow
class TestRealModels:
    """More texts than ``test_equality`` compares for each engine."""

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


def test_many_threads_get_the_same_vectors(tiny_folder):
    provider = numpy_provider(tiny_folder(Tiny("mpnet")))
    expected = provider.embed_batch(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: provider.embed_batch(TEXTS), range(16)))
    assert all(np.array_equal(result, expected) for result in results)
