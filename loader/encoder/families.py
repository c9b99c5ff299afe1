"""The encoder families: where each keeps its weights, and which settings of its config.json change the result.

All four are the encoder of "Attention Is All You Need" (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762) as BERT
(Devlin et al. 2018, https://arxiv.org/abs/1810.04805) arranges it: embeddings, then layers of self-attention and a
two-layer network, each added to its input and normalised afterwards. They differ in names, and in how they number
positions:

* BERT, DistilBERT: 0, 1, 2, ...
* RoBERTa, XLM-R, MPNet: counted from the padding token's number + 1 (Liu et al. 2019,
  https://arxiv.org/abs/1907.11692);
* MPNet adds to every attention score a bias that depends on the distance of the two tokens (Song et al. 2020,
  https://arxiv.org/abs/2004.09297), in the logarithmic buckets of T5 (Raffel et al. 2019,
  https://arxiv.org/abs/1910.10683).
"""

import os

from ..errors import ModelCorruptError, ModelUnsupportedError
from ..model.config_files import padding_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Final

_UNUSED: "Final" = (
    "pooler.",
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    # Heads on top of an encoder.
    "cls.",
    "lm_head.",
    "classifier.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
)
"""Prefixes of tensors that do not affect the token vectors."""

# Our name of a layer's part -> the family's; each has a ".weight" and a ".bias".
_BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
_MPNET_LAYER = {
    **_BERT_LAYER,
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attention_output": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
}
_DISTILBERT_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
_BERT_KEYS = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "inner": "intermediate_size",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
}
_DISTILBERT_KEYS = {
    "layers": "n_layers",
    "heads": "n_heads",
    "width": "dim",
    "inner": "hidden_dim",
    "activation": "activation",
}


class Family:
    """How one architecture names things.

    Attributes:
        prefixes: possible prefixes of its tensors' names; transformers saves the bare encoder without one.
        layer: the prefix of a layer, with ``{}`` for its number.
        parts: our names of a layer's parts and the family's.
        keys: our names of settings and the family's in config.json.
        has_token_types: whether a vector of the (only) token type is added to the embeddings.
        positions_from_padding: whether positions are counted from the padding token's number + 1.
        relative_bias: the tensor of the distance-dependent bias, or None.
    """

    __slots__ = ("has_token_types", "keys", "layer", "parts", "positions_from_padding", "prefixes", "relative_bias")

    def __init__(
        self,
        prefixes: tuple[str, ...],
        layer: str,
        parts: dict[str, str],
        keys: dict[str, str],
        *,
        has_token_types: bool = False,
        positions_from_padding: bool = False,
        relative_bias: str | None = None,
    ) -> None:
        self.prefixes = prefixes
        self.layer = layer
        self.parts = parts
        self.keys = keys
        self.has_token_types = has_token_types
        self.positions_from_padding = positions_from_padding
        self.relative_bias = relative_bias

    def prefix_in(self, names: "Collection[str]") -> str:
        """Return the prefix of these tensor names."""
        probe = "embeddings.word_embeddings.weight"
        return next((prefix for prefix in self.prefixes if prefix and prefix + probe in names), "")

    def is_used(self, name: str) -> bool:
        """Whether the token vectors depend on a tensor, named without the prefix."""
        return not name.startswith(_UNUSED)


_ROBERTA = Family(
    ("", "roberta."),
    "encoder.layer.{}.",
    _BERT_LAYER,
    _BERT_KEYS,
    has_token_types=True,
    positions_from_padding=True,
)

FAMILIES: "Final[dict[str, Family]]" = {
    "bert": Family(("", "bert."), "encoder.layer.{}.", _BERT_LAYER, _BERT_KEYS, has_token_types=True),
    "distilbert": Family(("", "distilbert."), "transformer.layer.{}.", _DISTILBERT_LAYER, _DISTILBERT_KEYS),
    "mpnet": Family(
        ("", "mpnet."),
        "encoder.layer.{}.",
        _MPNET_LAYER,
        _BERT_KEYS,
        positions_from_padding=True,
        relative_bias="encoder.relative_attention_bias.weight",
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""By ``model_type`` of config.json."""

ACTIVATIONS: "Final" = {
    "gelu": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
"""Names of activation functions in config.json, and ours in ``loader.encoder.forward``."""

# Settings that change the result and may only have these values; the first is the default.
_FIXED: "dict[str, tuple[object, ...]]" = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "auto_map": (None, {}),  # the model's own code
    "quantization_config": (None,),
    "pruned_heads": ({}, None, []),
    "rope_scaling": (None,),
    "rope_parameters": (None,),
    "rotary_emb_base": (None,),
    "use_flash_attn": (None, False),
    "window_size": (None,),
    "embedding_size": (None,),
    "relative_attention_num_buckets": (32, None),
}


class EncoderConfig:
    """The numbers of an encoder.

    Attributes:
        family: an entry of ``FAMILIES``.
        layers, heads, width, inner: its size; ``width`` is the length of a token's vector, ``inner`` the width inside
            the feed-forward network.
        positions: how many positions have vectors.
        activation: a value of ``ACTIVATIONS``.
        epsilon: what layer normalisation adds to the variance.
        padding: the number of the padding token.
    """

    __slots__ = ("activation", "epsilon", "family", "heads", "inner", "layers", "padding", "positions", "width")

    def __init__(self, config: "dict[str, Any]", folder: str) -> None:
        """Read a config.json.

        Raises:
            ModelUnsupportedError: the architecture or a value is not supported; or a number is missing, so that it
                depends on the library that saved the model.
            ModelCorruptError: a number is invalid.
        """
        kind = config.get("model_type")
        family = FAMILIES.get(kind) if isinstance(kind, str) else None
        if family is None:
            raise ModelUnsupportedError(
                f"{folder} has the architecture {kind!a}; the engine numpy supports {', '.join(FAMILIES)}. "
                "Use engine='sentence_transformers'."
            )
        for name, allowed in _FIXED.items():
            if config.get(name, allowed[0]) not in allowed:
                raise ModelUnsupportedError(
                    f"{folder}/config.json sets {name} to {config[name]!a}, which the engine numpy does not support."
                )
        self.family = family
        keys = family.keys
        self.layers, self.heads, self.width, self.inner = (
            _whole(config, keys[name], folder) for name in ("layers", "heads", "width", "inner")
        )
        self.positions = _whole(config, "max_position_embeddings", folder)
        if self.width % self.heads:
            raise ModelCorruptError(
                f"{folder}/config.json has {self.heads} heads, which do not divide the width {self.width}."
            )
        activation = config.get(keys["activation"], "gelu")
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ModelUnsupportedError(
                f"{folder}/config.json sets {keys['activation']} to {activation!a}; the engine numpy supports "
                f"{', '.join(ACTIVATIONS)}."
            )
        self.activation = ACTIVATIONS[activation]
        epsilon = config.get(keys.get("epsilon", ""), 1e-12)
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise ModelCorruptError(f"{folder}/config.json has an invalid layer_norm_eps: {epsilon!a}.")
        self.epsilon = epsilon
        # Other families ignore it, so it may be anything there.
        path = os.path.join(folder, "config.json")
        self.padding = padding_token(config, path) if family.positions_from_padding else 0


def _whole(config: "dict[str, Any]", key: str, folder: str) -> int:
    if key not in config:
        raise ModelUnsupportedError(f"{folder}/config.json does not set {key}. Use engine='sentence_transformers'.")
    value = config[key]
    if type(value) is not int or not 0 < value < 2**20:
        raise ModelCorruptError(f"{folder}/config.json sets {key} to {value!a}, but it must be a positive integer.")
    return value
