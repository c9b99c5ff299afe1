"""Static models: a table of vectors in the place of an encoder, which adds no special tokens to a text."""

import numpy as np
import pytest

from loader import EmbeddingError, LoaderError, ModelUnsupportedError, OptimizedEmbeddingLoader
from loader.engines.native import kernel
from tests.support.engines import OURS
from tests.support.tiny_models import plain_model, save_static, unit

pytestmark = pytest.mark.process

ENGINES = ("native", "numpy", "sentence_transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_static(tmp_path_factory.mktemp("static") / "model")


@pytest.fixture(scope="module", params=ENGINES)
def static(folder, request):
    if request.param == "native":
        try:
            kernel()
        except LoaderError as error:
            pytest.skip(str(error))
    return OptimizedEmbeddingLoader(folder, device="cpu", engine=request.param).load(timeout=None)


def with_tensors(folder, tensors):
    """Replace a static model's weights."""
    from safetensors.numpy import save_file

    save_file(tensors, f"{folder}/model.safetensors")
    return folder


def table_of(folder):
    from safetensors.numpy import load_file

    return load_file(f"{folder}/model.safetensors")["embedding.weight"]


def test_vectors_and_tokens_are_those_of_sentence_transformers(static, folder):
    texts = ["database connection", "x", "\u0e01"]
    plain = plain_model(folder)
    assert np.max(np.abs(static.embed_batch(texts) - unit(plain.encode(texts)))) <= 2e-6
    loader = OptimizedEmbeddingLoader(folder)
    assert static.max_seq_length is None
    for text in (*texts, ""):
        assert loader.count_tokens(text) == len(plain.tokenize([text])["input_ids"])
        assert loader.truncate(text) == text


@pytest.mark.parametrize("engine", OURS)
def test_a_long_text_has_the_mean_of_all_its_tokens(folder, engine):
    """PyTorch adds up in float32: after some thousand tokens it is a few 1e-5 off."""
    table = table_of(folder).astype(np.float64)
    loader = OptimizedEmbeddingLoader(folder, engine=engine)
    tokens = plain_model(folder).tokenize(["a long " * 5000])["input_ids"]
    assert len(tokens) > 10_000
    vector = loader.load(timeout=None).embed_query("a long " * 5000)
    assert np.max(np.abs(vector - unit(table[tokens].mean(axis=0)[None])[0])) <= 2e-7


def test_a_text_without_tokens_is_named_with_the_reason(static):
    many = ["database"] * 1500
    for texts, where in (
        ([""], "the text ('')"),
        (["a", "", "b"], "texts[1] ('')"),
        (["a", "b", " \n"], "texts[2] (' \\n')"),
        ([*many, "", ""], "texts[1500] ('')"),
    ):
        with pytest.raises(EmbeddingError) as refusal:
            static.embed_batch(texts)
        assert f"no vector for {where}: it is empty, and this model adds no special tokens" in str(refusal.value)
    with pytest.raises(EmbeddingError, match="no vector for the text"):
        static.embed_query("")
    assert static.embed_batch(["a", "b"]).shape == (2, 16)


def test_a_stream_gives_what_comes_before_a_text_without_tokens(static):
    stream = static.embed_stream(["a", "b", "", "c"])
    received = [next(stream), next(stream)]
    assert np.max(np.abs(np.stack(received) - static.embed_batch(["a", "b"]))) <= 1e-6
    with pytest.raises(EmbeddingError, match=r"the text \(''\)"):
        next(stream)


def test_what_its_tokenizer_cuts_is_reported(tmp_path):
    folder = save_static(tmp_path / "model", longest=7)
    loader = OptimizedEmbeddingLoader(folder, device="cpu")
    static, plain, text = loader.load(timeout=None), plain_model(folder), "a b c d e f g h i j"
    assert static.max_seq_length == len(plain.tokenize([text])["input_ids"]) == 7
    assert loader.truncate(text) == "a b c d e f g"
    assert loader.count_tokens(text) == 10
    vectors = static.embed_batch([text, loader.truncate(text)])
    assert np.max(np.abs(vectors - unit(plain.encode([text, text])))) <= 2e-6


def test_a_tokenizer_that_cuts_on_the_left_is_not_counted_with(tmp_path):
    from tokenizers import Tokenizer

    folder = save_static(tmp_path / "model")
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(7, direction="left")
    tokenizer.save(f"{folder}/tokenizer.json")
    with pytest.raises(ModelUnsupportedError, match="on the left"):
        OptimizedEmbeddingLoader(folder).truncate("a b c d e f g h i j")


def test_the_first_engine_that_knows_it_is_the_fastest(folder):
    assert OptimizedEmbeddingLoader(folder).load(timeout=None).engine in {"native", "numpy"}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("engine", OURS)
def test_the_layout_of_model2vec_and_half_precision(tmp_path, engine, dtype):
    folder = save_static(tmp_path / "model")
    with_tensors(folder, {"embeddings": table_of(folder).astype(dtype)})
    texts = ["database connection", "x"]
    ours = OptimizedEmbeddingLoader(folder, engine=engine).load(timeout=None).embed_batch(texts)
    theirs = OptimizedEmbeddingLoader(folder, engine="sentence_transformers", device="cpu").load(timeout=None)
    assert np.max(np.abs(ours - theirs.embed_batch(texts))) <= 2e-6


def test_dense_layers_behind_a_table(tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer

    from tests.support.tiny_models import modules

    plain = plain_model(save_static(tmp_path / "table"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        dense = modules().Dense(16, 5)
        SentenceTransformer(modules=[*plain, dense], device="cpu").save_pretrained(str(tmp_path / "model"))
    texts = ["database connection", "x"]
    theirs = unit(plain_model(str(tmp_path / "model")).encode(texts))
    for engine in ("native", "numpy"):
        found = OptimizedEmbeddingLoader(tmp_path / "model", engine=engine).load(timeout=None).embed_batch(texts)
        assert np.max(np.abs(found - theirs)) <= 2e-6


@pytest.mark.parametrize("engine", OURS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: {"embeddings": table, "weights": np.ones(len(table), np.float32)}, "embeddings, weights"),
        (lambda table: {"table": table}, "has the tensors table"),
        (lambda table: {"embedding.weight": table[0]}, "no table of vectors"),
        (lambda table: {"embedding.weight": table.astype(np.int32)}, "I32"),
    ],
)
def test_other_tensors_are_refused(tmp_path, engine, change, message):
    folder = save_static(tmp_path / "model")
    with_tensors(folder, change(table_of(folder)))
    with pytest.raises(LoaderError, match=message):
        OptimizedEmbeddingLoader(folder, engine=engine).load(timeout=None)


@pytest.mark.parametrize("engine", OURS)
def test_a_token_that_the_table_does_not_have_is_an_error(tmp_path, engine):
    folder = save_static(tmp_path / "model")
    with_tensors(folder, {"embedding.weight": np.ascontiguousarray(table_of(folder)[:6])})
    provider = OptimizedEmbeddingLoader(folder, engine=engine).load(timeout=None)
    with pytest.raises(EmbeddingError):
        provider.embed_query("database connection")


def test_there_is_nothing_to_prepare(tmp_path):
    folder = save_static(tmp_path / "model")
    with pytest.raises(ModelUnsupportedError, match="table of vectors"):
        OptimizedEmbeddingLoader(folder, "quantized", compile="now").load(timeout=None)
