"""Static models: a table of vectors in the place of an encoder, which adds no special tokens to a text."""

import numpy as np
import pytest

from loader import EmbeddingError, ModelUnsupportedError, OptimizedEmbeddingLoader
from tests.support.tiny_models import plain_model, save_static, unit

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_static(tmp_path_factory.mktemp("static") / "model")


@pytest.fixture(scope="module")
def static(folder):
    return OptimizedEmbeddingLoader(folder, device="cpu").load(timeout=None)


def test_vectors_and_tokens_are_those_of_sentence_transformers(static, folder):
    texts = ["database connection", "x", "\u0e01", "long " * 2000]
    plain = plain_model(folder)
    assert np.max(np.abs(static.embed_batch(texts) - unit(plain.encode(texts)))) <= 2e-6
    loader = OptimizedEmbeddingLoader(folder)
    assert static.max_seq_length is None
    for text in (*texts, ""):
        assert loader.count_tokens(text) == len(plain.tokenize([text])["input_ids"])
        assert loader.truncate(text) == text


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
