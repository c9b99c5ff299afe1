"""Reading a model's own small configuration files: the facts every engine and the metadata are made from."""

import json
import os

from .errors import ModelCorruptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUANTIZABLE_FAMILIES = frozenset({"bert", "distilbert", "mpnet", "roberta", "xlm-roberta"})
"""``model_type`` of encoders whose linear layers 8-bit weights are known to serve well."""

# Position 0 and the padding position are not used in these families, so two positions are lost to texts.
_OFFSET_POSITIONS = {"mpnet": 2, "roberta": 2, "xlm-roberta": 2}


_TRANSFORMER_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names of the transformer module's settings, in the order in which sentence-transformers looks for them."""


class ModelFacts:
    """What the configuration files say. ``None`` where they do not say it.

    Attributes:
        embedding_dim: length of a vector.
        max_seq_length: longest sequence in tokens, special tokens included.
        model_type: the architecture's name in config.json, such as ``"bert"``.
    """

    __slots__ = ("embedding_dim", "max_seq_length", "model_type")

    def __init__(self, embedding_dim: int | None, max_seq_length: int | None, model_type: str | None) -> None:
        self.embedding_dim = embedding_dim
        self.max_seq_length = max_seq_length
        self.model_type = model_type


def read_json(folder: str, *names: str) -> "Any":
    """Return the parsed file ``folder/names...``, or None if there is none.

    Raises:
        ModelCorruptError: it is there and cannot be read.
    """
    path = os.path.join(folder, *names)
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelCorruptError(f"{path} cannot be read: {error}. Fetch the model again.") from error


def transformer_folder(folder: str) -> str:
    """Return where the transformer's own files are: the model's folder itself, or the one that modules.json names.

    Raises:
        ModelCorruptError: modules.json is damaged.
    """
    path, _ = _walk_modules(folder)
    return os.path.join(folder, path) if path else folder


def read_facts(folder: str) -> ModelFacts:
    """Return the facts of a model folder.

    Raises:
        ModelCorruptError: a file is damaged or holds something of an unexpected type.
    """
    transformer_path, dimension = _walk_modules(folder)
    config = mapping(read_json(folder, transformer_path, "config.json"), folder, "config.json")
    _, sentence = transformer_settings(os.path.join(folder, transformer_path))
    model_type = config.get("model_type")
    dimension = dimension or _positive(config.get("hidden_size")) or _positive(config.get("dim"))
    name = "config_sentence_transformers.json"
    kept = _positive(mapping(read_json(folder, name), folder, name).get("truncate_dim"))
    return ModelFacts(
        embedding_dim=min(dimension, kept) if dimension and kept else dimension,
        max_seq_length=_positive(sentence.get("max_seq_length"))
        or _longest(os.path.join(folder, transformer_path), config),
        model_type=model_type if isinstance(model_type, str) else None,
    )


def transformer_settings(folder: str) -> "tuple[str, dict[str, Any]]":
    """Return the settings of a transformer module, and the name of their file; the first that holds any.

    Raises:
        ModelCorruptError: a file is damaged.
    """
    for name in _TRANSFORMER_SETTINGS:
        settings = mapping(read_json(folder, name), folder, name)
        if settings:
            return name, settings
    return _TRANSFORMER_SETTINGS[0], {}


def _walk_modules(folder: str) -> tuple[str, int | None]:
    """Return the sub-folder of the transformer and the dimension that leaves the last module which sets one."""
    modules = read_json(folder, "modules.json")
    transformer_path, dimension = "", None
    if modules is None:
        return transformer_path, dimension
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelCorruptError(f"{folder}/modules.json is not a list of modules. Fetch the model again.")
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = str(module.get("path", ""))
        if kind == "Transformer":
            transformer_path = path
        elif kind in {"Pooling", "Dense"}:
            values = mapping(read_json(folder, path, "config.json"), folder, f"{path}/config.json")
            dimension = _pooled(values) if kind == "Pooling" else _positive(values.get("out_features")) or dimension
    return transformer_path, dimension


def _pooled(pooling: "dict[str, Any]") -> int | None:
    """Return the pooled dimension: several pooling modes at once are concatenated."""
    width = _positive(pooling.get("word_embedding_dimension") or pooling.get("embedding_dimension"))
    modes = pooling.get("pooling_mode")
    if modes is None:
        modes = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    return width and width * max(len(modes) if isinstance(modes, list) else 1, 1)


def _longest(folder: str, config: "dict[str, Any]") -> int | None:
    """Return the longest sequence by the rule of sentence-transformers: what both tokenizer and positions allow."""
    tokenizer = mapping(read_json(folder, "tokenizer_config.json"), folder, "tokenizer_config.json")
    positions = _positive(config.get("max_position_embeddings"))
    if positions:
        positions -= _OFFSET_POSITIONS.get(str(config.get("model_type")), 0)
    limits = [limit for limit in (positions, _positive(tokenizer.get("model_max_length"))) if limit]
    return min(limits, default=None)


def mapping(value: object, folder: str, name: str) -> "dict[str, Any]":
    """Return a parsed JSON object, an empty one for None.

    Raises:
        ModelCorruptError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelCorruptError(f"{folder}/{name} is not a JSON object. Fetch the model again.")
    return value


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
