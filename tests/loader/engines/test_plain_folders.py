"""Folders as transformers saves a model, without modules.json: the mean of the tokens' vectors."""

import json
import shutil

import numpy as np
import pytest

from loader import ModelUnsupportedError, OptimizedEmbeddingLoader
from loader.model.pipeline import Pipeline
from tests.support.engines import OURS
from tests.support.tiny_models import FAMILIES, Tiny, plain_model, unit

pytestmark = pytest.mark.process

TEXTS = ["database connection", "x", "", "a text that is longer than the encoder has positions for " * 9]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(tmp_path_factory, request):
    """The encoder alone, which the tiny model was made from."""
    made = tmp_path_factory.mktemp("plain")
    Tiny(request.param).save(made / "model")
    return made / "model.plain"


@pytest.mark.parametrize("engine", OURS)
def test_vectors_and_tokens_are_those_of_sentence_transformers(folder, engine):
    loader = OptimizedEmbeddingLoader(folder, engine=engine)
    provider, plain = loader.load(timeout=None), plain_model(str(folder))
    assert not (folder / "modules.json").exists()
    assert 0 < provider.max_seq_length <= plain.max_seq_length
    plain.max_seq_length = provider.max_seq_length  # it fails where texts are longer than there are positions
    assert np.max(np.abs(provider.embed_batch(TEXTS) - unit(plain.encode(TEXTS)))) <= 2e-6


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", {"architectures": ["RobertaForCausalLM"]}, "RobertaForCausalLM"),
        ("sentence_bert_config.json", {"max_seq_length": 5}, "sentence_bert_config.json"),
        ("config_sentence_transformers.json", {"prompts": {"query": "q: "}}, "config_sentence_transformers.json"),
    ],
)
def test_what_would_be_ignored_or_pooled_in_another_way_is_refused(folder, tmp_path, file, content, reason):
    copied = shutil.copytree(folder, tmp_path / "model")
    kept = json.loads((copied / file).read_text()) if (copied / file).exists() else {}
    (copied / file).write_text(json.dumps(kept | content))
    with pytest.raises(ModelUnsupportedError, match=reason):
        Pipeline(str(copied))
