"""Counting and truncating with the real tokenizer, before any model is loaded."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import ArgumentTypeError, ModelCorruptError, ModelUnsupportedError, OptimizedEmbeddingLoader, TextError
from loader.text.tokenizer import TextTokenizer
from tests.support.texts_corpus import varied_texts


@pytest.fixture(scope="module")
def tokenizer(minilm_folder):
    return TextTokenizer(str(minilm_folder))


def test_counts_are_those_of_the_tokenizer_itself(tokenizer, minilm_folder):
    from tokenizers import Tokenizer

    plain = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    plain.no_truncation()
    plain.no_padding()
    for text in varied_texts(200):
        assert tokenizer.count_tokens(text) == len(plain.encode(text).ids)
    assert tokenizer.count_tokens("") == 2


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(0, 40))
def test_a_truncated_text_is_a_prefix_that_fits(tokenizer, text, limit):
    cut = tokenizer.truncate(text, limit)
    assert text.startswith(cut)
    assert tokenizer.count_tokens(cut) <= max(limit, 2)
    if tokenizer.count_tokens(text) <= limit:
        assert cut == text
    assert tokenizer.truncate(cut, limit) == cut or limit < 2


def test_a_truncated_text_has_the_vector_of_the_whole(tokenizer, provider):
    text = " ".join(varied_texts(60))
    cut = tokenizer.truncate(text)
    assert tokenizer.count_tokens(text) > 256 >= tokenizer.count_tokens(cut)
    assert provider.embed_chunk(cut) @ provider.embed_chunk(text) > 0.999999


def test_the_same_rule_for_texts(tokenizer):
    for method in (tokenizer.count_tokens, tokenizer.truncate):
        with pytest.raises(ArgumentTypeError):
            method(None)
        with pytest.raises(TextError):
            method("\ud800")


def test_many_threads_at_once(tokenizer):
    texts = varied_texts(40)
    expected = [tokenizer.count_tokens(text) for text in texts]
    results = []
    threads = [
        threading.Thread(target=lambda: results.append([tokenizer.count_tokens(t) for t in texts])) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 16


def test_a_missing_or_damaged_tokenizer_file(tiny_model):
    loader = OptimizedEmbeddingLoader(str(tiny_model))
    with pytest.raises(ModelUnsupportedError, match=r"tokenizer\.json"):
        loader.count_tokens("text")
    (tiny_model / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelCorruptError, match=r"tokenizer\.json"):
        loader.truncate("text")


def test_progressive_counts_tokens_long_before_the_model_is_ready(python):
    code = """
import sys
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader("all-MiniLM-L6-v2", "progressive", engine="sentence_transformers")
loader.start_loading()
counted = loader.count_tokens("database connection")
print(counted, loader.truncate("database connection " * 400) != "", loader.get_metadata().embedding_dim,
      loader.is_loaded(), "sentence_transformers.sentence_transformer.model" in sys.modules)
"""
    done = python(code)
    assert done.out == "4 True 384 False False\n", done.out + done.err
