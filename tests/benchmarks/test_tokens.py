"""From text to token numbers: our WordPiece over words it has and has not met, and the ``tokenizers`` library."""

import pytest

from loader.text.tokenizer import TextTokenizer
from tests.benchmarks.conftest import LONG, SHORT, TEXTS

pytestmark = pytest.mark.real_model

LIMIT = 256


def open_tokenizer(folder, kind):
    """Return the tokenizer of a folder; ``"library"`` leaves all texts to the ``tokenizers`` library."""
    tokenizer = TextTokenizer(str(folder))
    assert tokenizer._quick is not None, "MiniLM's tokenizer is one that loader.text.wordpiece reads"
    if kind == "library":
        tokenizer._quick = None
    return tokenizer


@pytest.fixture(scope="module")
def expected(minilm_folder):
    """The numbers that the library gives, by text."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    library.no_padding()
    library.enable_truncation(LIMIT)
    return {text: library.encode(text).ids for text in (SHORT, LONG)}


@pytest.mark.benchmark(group="open tokenizer")
class TestOpen:
    def test_wordpiece(self, benchmark, minilm_folder):
        assert benchmark(TextTokenizer, str(minilm_folder)).max_seq_length == LIMIT

    def test_library(self, benchmark, minilm_folder):
        from tokenizers import Tokenizer

        tokenizer = benchmark(Tokenizer.from_file, str(minilm_folder / "tokenizer.json"))
        assert tokenizer.get_vocab_size() == 30522


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["wordpiece", "library"])
def test_encode(benchmark, minilm_folder, expected, text, kind):
    benchmark.group = f"tokenise, {'short' if text is SHORT else 'long'} text"
    tokenizer = open_tokenizer(minilm_folder, kind)
    assert benchmark(tokenizer.encode, text, LIMIT) == expected[text]


@pytest.mark.parametrize("text", TEXTS)
def test_encode_first_text(benchmark, minilm_folder, expected, text):
    """By a tokenizer that was just opened: each word is looked up in the vocabulary."""
    benchmark.group = f"tokenise, {'short' if text is SHORT else 'long'} text"

    def setup():
        return (open_tokenizer(minilm_folder, "wordpiece"), text, LIMIT), {}

    assert benchmark.pedantic(TextTokenizer.encode, setup=setup, rounds=100, warmup_rounds=3) == expected[text]
