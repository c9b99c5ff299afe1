"""The vectors are those of plain sentence-transformers."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from loader import LoadingStrategy, OptimizedEmbeddingLoader
from loader.engines import ENGINES
from loader.model.known_models import KNOWN_MODELS
from loader.model.source import find
from tests.conftest import MINILM
from tests.support.texts_corpus import varied_texts
from tests.support.tiers import representative

pytestmark = pytest.mark.real_model

# Spearman correlations of plain sentence-transformers 6.2.0, float32, on the development split of the STS benchmark.
STS_SPEARMAN = {
    "sentence-transformers/all-MiniLM-L6-v2": 0.8672,
    "sentence-transformers/all-mpnet-base-v2": 0.8811,
    "sentence-transformers/paraphrase-MiniLM-L3-v2": 0.8658,
}


@pytest.fixture(scope="module", params=representative([MINILM], KNOWN_MODELS))
def repo_id(request):
    """Each well-known model that is on this machine."""
    if find(request.param) is None:
        pytest.skip(f"{request.param} is not on this machine")
    return request.param


@pytest.fixture(scope="module")
def reference(repo_id):
    """Texts, the vectors that plain sentence-transformers gives them, and its longest sequence."""
    from sentence_transformers import SentenceTransformer

    plain, texts = SentenceTransformer(find(repo_id).path, device="cpu"), varied_texts(200 if repo_id == MINILM else 60)
    expected = plain.encode(texts)
    return texts, expected / np.linalg.norm(expected, axis=1, keepdims=True), plain.max_seq_length


@pytest.fixture(params=[spec.name for spec in ENGINES])
def engine(request):
    return request.param


def test_vectors_equal_plain_sentence_transformers(repo_id, reference, engine):
    texts, expected, max_seq_length = reference
    provider = OptimizedEmbeddingLoader(repo_id, LoadingStrategy.LAZY, "cpu", engine=engine, compile="now").load(
        timeout=None
    )
    assert np.min(np.sum(provider.embed_batch(texts) * expected, axis=1)) >= 0.99999
    for text, vector in list(zip(texts, expected, strict=True))[::5]:
        assert provider.embed_query(text) @ vector >= 0.99999
    assert provider.max_seq_length == max_seq_length


def test_prompts_of_the_model_are_used(minilm_folder, tmp_path, engine):
    """A copy of MiniLM that declares prompts: queries and documents get theirs, as in sentence-transformers."""
    import json

    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "prompted"
    folder.mkdir()
    for path in minilm_folder.iterdir():
        if path.name != "config_sentence_transformers.json":
            (folder / path.name).symlink_to(path)
    prompts = {"prompts": {"query": "search for: ", "document": "passage: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    plain = SentenceTransformer(str(folder), device="cpu")
    provider = OptimizedEmbeddingLoader(str(folder), device="cpu", engine=engine, compile="now").load(timeout=None)
    text = "database connection"
    assert provider.embed_query(text) @ plain.encode_query(text) >= 0.99999
    for vector in (provider.embed_chunk(text), provider.embed_batch([text])[0], next(provider.embed_stream([text]))):
        assert vector @ plain.encode_document(text) >= 0.99999
    assert provider.embed_query(text) @ provider.embed_chunk(text) < 0.999


def test_correlation_with_human_judgement(repo_id, engine):
    file = os.environ.get("STS_DEV_TSV", "")
    if not Path(file).is_file():
        pytest.skip("STS_DEV_TSV does not name the development split of the STS benchmark (tab-separated)")
    from scipy.stats import spearmanr

    with open(file, encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    provider = OptimizedEmbeddingLoader(repo_id, device="cpu", engine=engine, compile="now").load(timeout=None)
    left, right = (provider.embed_batch([row[column] for row in rows]) for column in (5, 6))
    correlation = spearmanr(np.sum(left * right, axis=1), [float(row[4]) for row in rows]).statistic
    print(f"{repo_id} {engine}: Spearman {correlation:.4f} on {len(rows)} pairs")
    assert abs(correlation - STS_SPEARMAN[repo_id]) <= 0.0005
