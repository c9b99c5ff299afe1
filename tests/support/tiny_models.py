"""Tiny sentence-transformers models with random weights, saved to a folder by the libraries themselves.

The weights are large and nothing is left at its initial value: biases, gains, positions and relative distances all
change the vectors, so that an engine which leaves one out is found out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.support.texts_corpus import varied_texts

FAMILIES = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta")
"""Architectures that the engine numpy knows."""
OTHERS = ("albert", "deberta-v2", "electra", "modernbert")
"""Architectures that it does not know."""

LITERAL_SPECIALS = (
    "<pad>",
    "<pad> <s> </s> <mask> [PAD] [SEP]",
    "a <pad> b<pad><pad>c </s></s> d",
    "[PAD] [PAD] [CLS] [MASK] [UNK] <unk>",
    "one [SEP] two [SEP]",
)
"""Texts that contain what other tokens are written as."""


@dataclass(frozen=True)
class Tiny:
    """What a tiny model is like.

    Attributes:
        family: one of ``FAMILIES`` or ``OTHERS``.
        pooling: one mode, or several that are concatenated.
        dense: (activation, with a bias) of each Dense module; the activation is a name of a class of ``torch.nn``.
        normalize: whether a Normalize module ends it.
        prompts: by name, as config_sentence_transformers.json declares them.
        hidden_act: the encoder's activation function.
        dtype: what the encoder's weights are stored as.
        shards: whether they are split into several files.
        max_seq_length: longest sequence, or None to leave it to what the encoder has positions for.
        config: further settings of the encoder.
    """

    family: str = "bert"
    pooling: str | tuple[str, ...] = "mean"
    dense: tuple[tuple[str, bool], ...] = ()
    normalize: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    hidden_act: str = "gelu"
    dtype: str = "float32"
    shards: bool = False
    max_seq_length: int | None = 48
    layers: int = 3
    heads: int = 4
    width: int = 32
    inner: int = 72
    positions: int = 64
    seed: int = 0
    config: dict[str, object] = field(default_factory=dict)

    def save(self, folder: Path | str) -> str:
        """Make the model in a folder, and return its path."""
        import torch
        from sentence_transformers import SentenceTransformer

        parts = modules()
        folder = Path(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            plain = folder.with_name(folder.name + ".plain")
            self._save_encoder(plain)
            limit = {} if self.max_seq_length is None else {"max_seq_length": self.max_seq_length}
            built = [parts.Transformer(str(plain), **limit)]
            built.append(parts.Pooling(self.width, pooling_mode=self.pooling))
            size = self.width * (1 if isinstance(self.pooling, str) else len(self.pooling))
            for number, (activation, bias) in enumerate(self.dense):
                outputs = 24 + 8 * number
                function = getattr(torch.nn, activation)()
                built.append(parts.Dense(size, outputs, bias=bias, activation_function=function))
                randomise(built[-1])
                size = outputs
            if self.normalize:
                built.append(parts.Normalize())
            SentenceTransformer(modules=built, prompts=self.prompts or None, device="cpu").save_pretrained(
                str(folder), create_model_card=False
            )
            if self.shards:
                (folder / "model.safetensors").unlink()
                built[0].auto_model.save_pretrained(folder, max_shard_size="20KB")
        return str(folder)

    def _save_encoder(self, folder: Path) -> None:
        import torch
        from transformers import AutoModel

        tokenizer = make_tokenizer(self.family)
        model = AutoModel.from_config(self._config(tokenizer))
        randomise(model)
        model.to(getattr(torch, self.dtype)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def _config(self, tokenizer):
        from transformers import AutoConfig

        sizes = {
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_size": self.width,
            "intermediate_size": self.inner,
            "hidden_act": self.hidden_act,
            "max_position_embeddings": self.positions,
        }
        if self.family == "distilbert":
            names = ("n_layers", "n_heads", "dim", "hidden_dim", "activation", "max_position_embeddings")
            sizes = dict(zip(names, sizes.values(), strict=True))
        elif self.family == "modernbert":
            sizes["hidden_activation"] = sizes.pop("hidden_act")
            sizes |= {"global_attn_every_n_layers": 2, "local_attention": 16, "reference_compile": False}
        elif self.family == "albert":
            sizes |= {"embedding_size": 16, "num_hidden_groups": 1}
        elif self.family == "electra":
            sizes |= {"embedding_size": 16}
        elif self.family == "deberta-v2":
            sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
        specials = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        for name in ("bos", "eos"):
            number = getattr(tokenizer, f"{name}_token_id")
            specials[f"{name}_token_id"] = specials["cls_token_id"] if number is None else number
        return AutoConfig.for_model(self.family, vocab_size=len(tokenizer), **sizes, **specials, **self.config)


def save_static(folder: Path | str, *, longest: int | None = None) -> str:
    """Make a static model in a folder: a table of vectors, without an encoder, and without special tokens."""
    import torch
    from sentence_transformers import SentenceTransformer

    namespace = modules()
    tokenizer = make_tokenizer("bert").backend_tokenizer
    if longest is not None:
        tokenizer.enable_truncation(longest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        table = namespace.StaticEmbedding(tokenizer, embedding_dim=16)
        SentenceTransformer(modules=[table], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def modules():
    """Return the namespace that has the modules of sentence-transformers, which moved in version 6."""
    try:
        from sentence_transformers.sentence_transformer import modules as namespace
    except ImportError:
        from sentence_transformers import models as namespace
    return namespace


def randomise(module) -> None:
    """Give each parameter random values, of a scale at which attention is neither even nor on a single token."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn_like(parameter)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1.0 + 0.3 * noise)
            elif name.endswith("bias") or parameter.ndim < 2:
                parameter.copy_(0.2 * noise)
            elif "embedding" in name:
                parameter.copy_(0.7 * noise)
            else:
                parameter.copy_(1.3 / parameter.shape[-1] ** 0.5 * noise)


def make_tokenizer(family: str):
    """Return a tokenizer of the kind that the family has: WordPiece, byte pairs or Unigram."""
    from transformers import (
        BertTokenizer,
        DebertaV2Tokenizer,
        MPNetTokenizer,
        RobertaTokenizer,
        XLMRobertaTokenizer,
    )

    if family == "mpnet":
        pieces = word_pieces(("<s>", "<pad>", "</s>", "[UNK]", "<mask>"))
        return MPNetTokenizer(vocab=dict(pieces))
    if family == "roberta":
        vocabulary, merges = byte_pairs()
        return RobertaTokenizer(vocab=dict(vocabulary), merges=list(merges))
    if family == "xlm-roberta":
        return XLMRobertaTokenizer(vocab=list(unigrams(("<s>", "<pad>", "</s>", "<unk>", "<mask>"), "<unk>")))
    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    if family == "deberta-v2":
        return DebertaV2Tokenizer(vocab=list(unigrams(specials, "[UNK]")))
    return BertTokenizer(vocab=dict(word_pieces(specials)))


@cache
def word_pieces(specials: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return a WordPiece vocabulary that begins with these tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=list(specials), show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    return tuple(tokenizer.get_vocab().items())


@cache
def byte_pairs():
    """Return the vocabulary and the merges of a byte-pair encoding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return tuple(model["vocab"].items()), tuple(tuple(pair) for pair in model["merges"])


@cache
def unigrams(specials: tuple[str, ...], unknown: str) -> tuple[tuple[str, float], ...]:
    """Return the pieces of a Unigram model and their log-probabilities."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=700, special_tokens=list(specials), unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tuple((piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"])


def _texts() -> list[str]:
    return varied_texts(300, seed=5)


def plain_model(folder):
    """Return the model as plain sentence-transformers loads it, computing in float32."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True).float()


def unit(vectors):
    """Return vectors of length one."""
    import numpy as np

    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def edit_json(folder, *names: str, remove: tuple[str, ...] = (), **values: object) -> None:
    """Change fields of a JSON file of a model folder, which may be missing."""
    path = Path(folder, *names)
    fields = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    fields |= values
    for name in remove:
        fields.pop(name)
    path.write_text(json.dumps(fields), encoding="utf-8")


def edit_tensors(folder, change) -> None:
    """Rewrite the weights of a model folder: ``change(tensors)`` changes the dictionary in place."""
    from safetensors.torch import load_file, save_file

    path = Path(folder, "model.safetensors")
    tensors = load_file(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
