"""Random changes of a model's JSON files: the vectors of sentence-transformers, or a typed error, and nothing else.

The changes are the same in each run; ``FUZZ_SEED`` and ``FUZZ_CASES`` make others, and more.
"""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from loader import LoaderError, OptimizedEmbeddingLoader
from tests.support.tiny_models import Tiny, plain_model, unit

SEED = int(os.environ.get("FUZZ_SEED", "1"))
CASES = int(os.environ.get("FUZZ_CASES", "20"))
TOLERANCE = 3e-6
TEXTS = [
    "database connection pool",
    "The quick Brown fox; ÀÉ 東京 straße!",
    "x [MASK] <mask> [SEP]</s> y",
    "word " * 90,
    "a",
]
MODELS = [
    Tiny("bert"),
    Tiny("roberta"),
    Tiny("distilbert", pooling=("mean", "cls"), dense=(("Tanh", True),), prompts={"query": "q: ", "document": "d: "}),
]
FILES = (
    *("tokenizer.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_Pooling/config.json", "2_Dense/config.json"),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 7, 64, 1e30, 7.0, float("nan"), [], {}, [1], ["a"], {"content": "<new>"}),
    *("", "a", "[UNK]", "[MASK]", "<mask>", "left", "Right", "mean", "max", "relu", "BertTokenizer", "bert", "roberta"),
)
NEW_KEYS = (
    *("do_lower_case", "strip_accents", "cls_token", "unk_token", "truncation_side", "add_prefix_space", "new_token"),
    *("tokenizer_class", "model_max_length", "max_seq_length", "additional_special_tokens", "added_tokens_decoder"),
    *(
        "pooling_mode",
        "pooling_mode_cls_token",
        "pooling_mode_odd",
        "pad_token_id",
        "model_type",
        "truncate_dim",
        "bias",
    ),
)


def places(value, path=()):
    """Yield the path of every value inside of a parsed file; a vocabulary counts as one."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:10]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        if key not in {"vocab", "merges"}:
            yield from places(inner, (*path, key))


def change_vocabulary(vocabulary, rng):
    if isinstance(vocabulary, dict):
        piece = rng.choice([*vocabulary, "database", "{", "<new>"])
        vocabulary[piece] = rng.choice([0, 5, 699, 10**6, -1, "3", 1.5, None])
    else:
        vocabulary[rng.randrange(len(vocabulary))] = rng.choice([["database", -0.1], ["a", "x"], None])


def change(folder, rng):
    """Change something in a model's folder; return a description of it."""
    path = folder / rng.choice(FILES)
    if not path.parent.exists():
        return change(folder, rng)
    content = json.loads(path.read_text()) if path.exists() else {}
    found = list(places(content))
    what = rng.choice(["set", "set", "remove", "add", "vocabulary", "text"])
    if what == "vocabulary" and path.name == "tokenizer.json":
        change_vocabulary(content["model"]["vocab"], rng)
        where = ()
    elif what == "text" and path.name == "tokenizer.json":
        text = json.dumps(content, ensure_ascii=rng.random() < 0.3)
        where = rng.choice([('":', '" :'), ('"database"', '"fox"'), ("}}", '},"vocab":{"[UNK]":1}}'), ("{", "\ufeff{")])
        path.write_text(text.replace(*where))
        return f"{path.name}: {where}"
    elif what == "add" or not found:
        where = (rng.choice(NEW_KEYS),)
        (content if isinstance(content, dict) else content[0])[where[0]] = rng.choice(VALUES)
    else:
        where = rng.choice(found)
        inner = content
        for key in where[:-1]:
            inner = inner[key]
        if what == "remove":
            del inner[where[-1]]
        else:
            inner[where[-1]] = rng.choice(VALUES)
    path.write_text(json.dumps(content))
    return f"{path.name}: {what} {where}"


@pytest.mark.filterwarnings("ignore")
def test_vectors_of_sentence_transformers_or_a_typed_error(tiny_folder, tmp_path, own_cache):
    rng = random.Random(SEED)
    equal = 0
    for number in range(CASES):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(tiny_folder(rng.choice(MODELS))), folder)
        told = f"case {number} of seed {SEED}: {change(folder, rng)}"
        loader = OptimizedEmbeddingLoader(folder, device="cpu", engine="numpy")
        try:
            provider = loader.load(timeout=None)
            vectors = provider.embed_batch(TEXTS)
            for text in TEXTS:
                assert text.startswith(loader.truncate(text)), told
            assert loader.get_metadata().max_seq_length == provider.max_seq_length, told
        except LoaderError:
            continue
        try:
            plain = plain_model(folder)
            expected = unit([plain.encode_document([text])[0] for text in TEXTS])
        except Exception:  # it takes offence at more than we do
            continue
        assert np.max(np.abs(vectors - expected)) <= TOLERANCE, told
        equal += 1
    assert equal > CASES / 10, "hardly any model loads, so this says nothing"
