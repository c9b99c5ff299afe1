"""A BERT of a few hundred kilobytes with random weights: everything about it is real but its opinions."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np

from loader.artifacts.quantize import write_safetensors

WORDS = [
    "the",
    "a",
    "of",
    "to",
    "and",
    "database",
    "connection",
    "pool",
    "open",
    "quick",
    "brown",
    "fox",
    "dog",
    "lazy",
]
TEXTS = ["database connection", "the quick brown fox jumps over the lazy dog", "open a pool", "?", "xyz " * 40]


def make_tiny_bert(
    folder: Path, *, seed: int = 0, width: int = 32, layers: int = 2, inner: int = 64, longest: int = 64
) -> Path:
    """Write a complete model folder as sentence-transformers would, without importing PyTorch."""
    (folder / "1_Pooling").mkdir(parents=True)
    vocabulary = _write_tokenizer(folder, longest)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": inner,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": longest,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
    }
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    sentence = {"max_seq_length": longest, "do_lower_case": False}
    for name, content in {
        "config.json": config,
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": sentence,
    }.items():
        (folder / name).write_text(json.dumps(content))
    shapes = tensor_shapes(width=width, layers=layers, inner=inner, longest=longest, vocabulary=vocabulary)
    write_safetensors(str(folder / "model.safetensors"), random_tensors(shapes, seed))
    return folder


def tensor_shapes(*, width: int, layers: int, inner: int, longest: int, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of BERT's tensors."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (longest, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for number in range(layers):
        prefix = f"encoder.layer.{number}."
        square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        sizes = {**dict.fromkeys(square, (width, width)), "intermediate.dense": (inner, width)}
        for part, size in {**sizes, "output.dense": (width, inner)}.items():
            shapes[f"{prefix}{part}.weight"] = size
            shapes[f"{prefix}{part}.bias"] = size[:1]
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}{part}.weight"] = shapes[f"{prefix}{part}.bias"] = (width,)
    return shapes


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Return weights with which the vectors of different texts, and of different seeds, differ plainly."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.3 if len(shape) == 2 else 0.05
        tensors[name] = rng.normal(0.0, scale, shape).astype(np.float32)
        if name.endswith("LayerNorm.weight"):
            tensors[name] += 1.0
    return tensors


def _write_tokenizer(folder: Path, longest: int) -> int:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = string.ascii_lowercase + string.digits
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *string.punctuation, *WORDS]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": longest, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabulary)
