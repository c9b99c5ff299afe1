"""Prepared models give the vectors of plain sentence-transformers: the engine onnx, and 8-bit weights."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from loader import ArtifactError, EmbeddingError, ModelUnsupportedError, OptimizedEmbeddingLoader, compile_model
from tests.conftest import MINILM
from tests.loader.engines.comparing import TOLERANCE, least_invariance, opened
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative
from tests.support.tiny_models import FAMILIES, LITERAL_SPECIALS, Tiny, edit_json, plain_model, unit

for _package in ("onnx", "onnxruntime"):
    pytest.importorskip(_package)


TEXTS = [*varied_texts(150), *LITERAL_SPECIALS, "", "long " * 3000, "é" * 500]
SAMPLE = [
    *(Tiny(family) for family in FAMILIES),
    Tiny("bert", pooling=("mean", "max"), dense=(("Tanh", True), ("GELU", False)), hidden_act="relu", normalize=True),
    Tiny("distilbert", pooling=("cls", "mean_sqrt_len_tokens"), dense=(("ReLU", True), ("Identity", True))),
    Tiny("mpnet", max_seq_length=290, positions=300, layers=2, hidden_act="gelu_new"),
    Tiny("roberta", shards=True, dtype="bfloat16", max_seq_length=60, prompts={"query": "q: ", "document": "d: "}),
    Tiny("xlm-roberta", pooling="mean_sqrt_len_tokens", dtype="float16", hidden_act="gelu_pytorch_tanh"),
]
CHOSEN = SAMPLE[5:]
"""Each family once, with all else that differs."""


def described(tiny):
    changed = [tiny.family, tiny.pooling, tiny.hidden_act, tiny.dtype]
    return "-".join(str(value) for value in changed if value not in {"mean", "gelu", "float32"})


@pytest.mark.parametrize("tiny", representative(CHOSEN, SAMPLE), ids=described)
class TestTinyModels:
    def test_full_precision(self, tiny, tiny_folder, prepared):
        folder = tiny_folder(tiny)
        plain = plain_model(folder)
        expected = unit(plain.encode_document(TEXTS))
        for engine in ("onnx", "numpy"):
            provider = opened(prepared(folder), engine)
            assert provider.dimension == plain.get_embedding_dimension()
            assert provider.max_seq_length == plain.max_seq_length
            largest = np.max(np.abs(provider.embed_batch(TEXTS) - expected))
            print(f"{described(tiny)} {engine}: largest difference {largest:.1e}")
            assert largest <= TOLERANCE
            for text, vector in list(zip(TEXTS, expected, strict=True))[::10]:
                assert np.max(np.abs(provider.embed_chunk(text) - vector)) <= TOLERANCE
            for text in TEXTS[:3]:
                assert np.max(np.abs(provider.embed_query(text) - unit(plain.encode_query(text)))) <= TOLERANCE
            assert least_invariance(provider, TEXTS[::3]) >= 0.99999

    def test_eight_bits(self, tiny, tiny_folder, prepared):
        folder = tiny_folder(tiny)
        expected = unit(plain_model(folder).encode_document(TEXTS))
        for engine in ("numpy", "onnx"):
            provider = opened(prepared(folder, "int8"), engine, "int8")
            cosines = np.sum(provider.embed_batch(TEXTS) * expected, axis=1)
            print(f"{described(tiny)} {engine}: mean cosine {np.mean(cosines):.5f}, least {np.min(cosines):.5f}")
            assert np.mean(cosines) >= 0.99
            assert np.min(cosines) < 0.9999995, "these are not 8 bits"
            assert least_invariance(provider, TEXTS[::3]) >= 0.99999


@pytest.mark.real_model
class TestMiniLM:
    @pytest.fixture(scope="class")
    @staticmethod
    def expected(minilm_folder):
        return unit(plain_model(minilm_folder).encode(TEXTS, batch_size=16))

    @pytest.mark.slow  # artifacts/test_prepare.py has the same for fewer texts
    @pytest.mark.parametrize("engine", ["numpy", "onnx"])
    def test_eight_bits(self, engine, expected, minilm_folder, prepared):
        provider = opened(prepared(minilm_folder, "int8"), engine, "int8")
        cosines = np.sum(provider.embed_batch(TEXTS) * expected, axis=1)
        least = least_invariance(provider, TEXTS[:60])
        print(f"{engine}: mean {np.mean(cosines):.5f}, least {np.min(cosines):.5f}, alone/together {least:.8f}")
        assert np.mean(cosines) >= 0.99
        assert least >= 0.99999

    @pytest.mark.slow  # test_equality has the same for fewer texts
    def test_full_precision(self, expected, minilm_folder, prepared):
        provider = opened(prepared(minilm_folder), "onnx")
        largest = np.max(np.abs(provider.embed_batch(TEXTS) - expected))
        print(f"largest difference {largest:.1e}")
        assert largest <= TOLERANCE
        assert least_invariance(provider, TEXTS[:60]) >= 0.99999

    def test_by_name_from_the_cache(self, minilm_folder, own_cache, prepared):
        """Compiling without an output puts it where a loader of the same name finds it."""
        compile_model(MINILM)
        provider = OptimizedEmbeddingLoader(MINILM, "cached", "cpu", engine="onnx").load(timeout=None)
        other = opened(prepared(minilm_folder), "onnx")
        assert np.array_equal(provider.embed_batch(TEXTS[:20]), other.embed_batch(TEXTS[:20]))


@pytest.mark.parametrize("engine", ["auto", "numpy", "onnx", "sentence_transformers"])
def test_a_folder_of_the_other_precision_is_refused(engine, tiny_folder, prepared):
    loader = OptimizedEmbeddingLoader(prepared(tiny_folder(Tiny("bert")), "int8"), "lazy", "cpu", engine=engine)
    with pytest.raises((ModelUnsupportedError, ArtifactError), match="prepared"):
        loader.load(timeout=None)


class TestManyTexts:
    def test_many_threads_get_the_same_vectors(self, tiny_folder, prepared):
        """Some of them open the second session at the same moment."""
        provider = opened(prepared(tiny_folder(Tiny("mpnet"))), "onnx")
        expected = np.stack([provider.embed_chunk(text) for text in TEXTS])

        def embed(number):
            return provider.embed_batch(TEXTS) if number % 2 else np.stack([provider.embed_chunk(t) for t in TEXTS])

        with ThreadPoolExecutor(8) as pool:
            for vectors in pool.map(embed, range(16)):
                assert np.max(np.abs(vectors - expected)) <= TOLERANCE

    @pytest.mark.parametrize("threads", [1, 3])
    def test_a_number_of_threads(self, threads, tiny_folder, prepared):
        folder = tiny_folder(Tiny("bert"))
        loader = OptimizedEmbeddingLoader(prepared(folder), "cached", engine="onnx", threads=threads)
        expected = unit(plain_model(folder).encode(TEXTS))
        assert np.max(np.abs(loader.load(timeout=None).embed_batch(TEXTS) - expected)) <= TOLERANCE

    @pytest.mark.parametrize("engine", ["onnx", "numpy"])
    def test_an_error_of_a_run_is_an_embedding_error(self, engine, tiny_folder, changed, prepared):
        """A token that the encoder has no vector for: among few texts, among many, and nothing is broken afterwards."""

        def change(folder):
            path = folder / "tokenizer.json"
            fields = json.loads(path.read_text())
            beyond = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
            fields["added_tokens"].append(beyond | {"id": 100_000, "content": "<beyond>"})
            path.write_text(json.dumps(fields))
            edit_json(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend")

        folder = changed(tiny_folder(Tiny("roberta")), change)
        provider = opened(compile_model(folder, output=folder + ".prepared"), engine)
        texts = TEXTS[:100]
        before = provider.embed_batch(texts)
        for batch in (["<beyond>"], ["a", "<beyond>"], [*texts, "<beyond>", *texts]):
            with pytest.raises(EmbeddingError, match=f"The engine {engine} failed while embedding"):
                provider.embed_batch(batch)
        assert np.array_equal(provider.embed_batch(texts), before)


@pytest.mark.parametrize(("family", "longest"), [("bert", 64), ("roberta", 62)])
def test_a_longest_sequence_beyond_the_positions_is_cut_to_them(family, longest, tiny_folder, changed, prepared):
    folder = changed(
        tiny_folder(Tiny(family)), lambda folder: edit_json(folder, "sentence_bert_config.json", max_seq_length=500)
    )
    # Compared with sentence-transformers would fail: it has no positions for the texts of the comparison.
    provider = opened(compile_model(folder, output=folder + ".prepared"), "onnx")
    edit_json(folder, "sentence_bert_config.json", max_seq_length=longest)
    text = "database " * 200
    assert provider.embed_chunk(text) @ unit(plain_model(folder).encode(text)) >= 0.999999


def test_a_text_without_tokens_is_an_error(tiny_folder, changed):
    def change(folder):
        edit_json(folder, "tokenizer.json", post_processor=None)
        edit_json(folder, "tokenizer_config.json", tokenizer_class="TokenizersBackend")

    folder = changed(tiny_folder(Tiny("bert")), change)
    provider = opened(compile_model(folder, output=folder + ".prepared"), "onnx")
    texts = ["database", "connection pool", "a"] * 10
    expected = unit(plain_model(folder).encode(texts))
    assert np.max(np.abs(provider.embed_batch(texts) - expected)) <= TOLERANCE
    for batch in ([""], ["database", "", "a"], [*texts, ""]):
        with pytest.raises(EmbeddingError):
            provider.embed_batch(batch)
