"""Reading a model's small configuration files: the facts that all engines and the metadata use."""

import os

from ..errors import ModelCorruptError, ModelUnsupportedError, lacking
from ..runtime import READING_ONCE
from ..runtime.paths import at_once
from ..runtime.plain_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUANTIZABLE_FAMILIES = frozenset({"bert", "distilbert", "mpnet", "roberta", "xlm-roberta"})
"""``model_type`` of encoders whose linear layers are known to work well with 8-bit weights."""

_COUNTED_FROM_ZERO = frozenset({"albert", "bert", "distilbert", "electra"})
COUNTED_FROM_PADDING = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
"""``model_type`` of encoders with a fixed number of positions, each with a vector. The latter number positions from the
padding token's number + 1, so texts cannot use the positions before that."""

_UNLIMITED = 2**31
"""A limit this large or larger means unlimited: transformers writes 1e30 for a tokenizer without a limit."""


TRANSFORMER_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Names of the transformer module's settings, in the order in which sentence-transformers looks for them."""


_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The pooling flags of models saved before ``pooling_mode`` existed, in the order of concatenation."""


class ModelFacts:
    """What the configuration files say; ``None`` if they do not.

    Attributes:
        embedding_dim: length of a vector.
        max_seq_length: longest sequence in tokens, special tokens included.
        model_type: the architecture's name in config.json, such as ``"bert"``.
        is_static: whether the first module is a table of vectors, which uses no special tokens and no settings other
            than those of tokenizer.json.
    """

    __slots__ = ("embedding_dim", "is_static", "max_seq_length", "model_type")

    def __init__(
        self, embedding_dim: int | None, max_seq_length: int | None, model_type: str | None, *, is_static: bool
    ) -> None:
        self.embedding_dim = embedding_dim
        self.is_static = is_static
        self.max_seq_length = max_seq_length
        self.model_type = model_type


def read_json(folder: str, *names: str) -> "Any":
    """Return the parsed file ``folder/names...``, or None if it does not exist.

    Raises:
        ModelCorruptError: it is damaged.
        ModelUnreadableError: it cannot be read now.
    """
    path = os.path.join(folder, *names)
    return READING_ONCE.get(path, lambda: _read_json(path))


def _read_json(path: str) -> "Any":
    try:
        with open(path, "rb", opener=at_once) as file:
            return loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError, MemoryError) as error:
        lack = lacking(path, error)
        raise lack or ModelCorruptError(f"{path} cannot be read: {error}. Fetch the model again.") from error


def transformer_folder(folder: str) -> str:
    """Return the folder of the transformer's files: the model's folder itself, or the one that modules.json names.

    Raises:
        ModelCorruptError: modules.json is damaged.
    """
    path, _, _ = _walk_modules(folder)
    return os.path.join(folder, path) if path else folder


def module_folders(folder: str) -> list[str]:
    """Return the folders that a model's files are read from, wherever they are: its own and those of its modules.

    Raises:
        ModelCorruptError: modules.json is damaged.
    """
    paths = [inside(folder, module.get("path", "")) for module in _modules(folder)]
    places = [folder, *(os.path.join(folder, path) for path in paths if path)]
    return list(dict.fromkeys([*places, *filter(None, map(_base_of_adapter, places))]))


def _base_of_adapter(folder: str) -> str | None:
    """Return the folder of the base model, if this folder holds adapter weights for the library ``peft``."""
    base = mapping(read_json(folder, "adapter_config.json"), folder, "adapter_config.json").get(
        "base_model_name_or_path"
    )
    if not isinstance(base, str) or os.path.isdir(base):
        return base if isinstance(base, str) else None
    from .hub_cache import cache_roots, snapshot_folder

    found = (snapshot_folder(root, base) for root in cache_roots())
    return next(filter(None, found), None)


def read_facts(folder: str) -> ModelFacts:
    """Return the facts of a model folder.

    Raises:
        ModelCorruptError: a file is damaged or has a value of an unexpected type.
    """
    transformer_path, dimension, is_static = _walk_modules(folder)
    transformer = os.path.join(folder, transformer_path) if transformer_path else folder
    config = mapping(read_json(transformer, "config.json"), transformer, "config.json")
    path = os.path.join(transformer, "config.json")
    model_type = config.get("model_type")
    dimension = dimension or whole(config, "hidden_size", path) or whole(config, "dim", path)
    name = "config_sentence_transformers.json"
    settings = mapping(read_json(folder, name), folder, name)
    kept = whole(settings, "truncate_dim", os.path.join(folder, name))
    return ModelFacts(
        embedding_dim=min(dimension, kept) if dimension and kept else dimension,
        max_seq_length=None if is_static else _longest(transformer, config),
        model_type=model_type if isinstance(model_type, str) else None,
        is_static=is_static,
    )


def transformer_settings(folder: str) -> "tuple[str, dict[str, Any]]":
    """Return the settings of a transformer module and the name of their file: the first one that has any.

    Raises:
        ModelCorruptError: a file is damaged.
    """
    for name in TRANSFORMER_SETTINGS:
        settings = mapping(read_json(folder, name), folder, name)
        if settings:
            return name, settings
    return TRANSFORMER_SETTINGS[0], {}


def _walk_modules(folder: str) -> tuple[str, int | None, bool]:
    """Return the transformer's sub-folder, the dimension after the last module, and whether the model is static."""
    transformer_path, dimension, is_static = "", None, False
    for module in _modules(folder):
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = inside(folder, module.get("path", ""))
        if kind in {"Transformer", "StaticEmbedding"}:
            transformer_path, is_static = path, kind == "StaticEmbedding"
        elif kind in {"Pooling", "Dense"}:
            values = mapping(read_json(folder, path, "config.json"), folder, f"{path}/config.json")
            if kind == "Pooling":
                key = "word_embedding_dimension" if "word_embedding_dimension" in values else "embedding_dimension"
                width = whole(values, key, os.path.join(folder, path, "config.json"))
                dimension = width and width * len(pooling_modes(values, os.path.join(folder, path)))
            else:
                dimension = whole(values, "out_features", os.path.join(folder, path, "config.json")) or dimension
    return transformer_path, dimension, is_static


def _modules(folder: str) -> "list[dict[str, Any]]":
    modules = read_json(folder, "modules.json")
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelCorruptError(f"{folder}/modules.json is not a list of modules. Fetch the model again.")
    return modules


def inside(folder: str, path: object) -> str:
    """Return the path of a module, relative to the model's folder.

    Raises:
        ModelCorruptError: it is not a string, or leads out of the folder.
    """
    if not isinstance(path, str) or os.path.isabs(path) or ".." in path.replace("\\", "/").split("/") or "\0" in path:
        raise ModelCorruptError(f"{folder}/modules.json names the folder {path!a}, which is outside the model.")
    return path


def pooling_modes(settings: "dict[str, Any]", folder: str) -> tuple[str, ...]:
    """Return the modes of a pooling module, in the order in which their vectors are concatenated.

    Raises:
        ModelUnsupportedError: a flag names an unknown mode.
        ModelCorruptError: the modes are not names.
    """
    if "pooling_mode" in settings:
        modes = settings["pooling_mode"]
        chosen = tuple(modes) if isinstance(modes, list) else (modes,)
        if not chosen or not all(isinstance(mode, str) for mode in chosen):
            raise ModelCorruptError(f"{folder}/config.json has an invalid pooling_mode: {modes!a}.")
        return chosen
    # As in sentence-transformers, a flag is set if its value is true in Python: true, 1 or a text.
    flags = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    unknown = next((key for key in flags if key not in _POOLING_FLAGS), None)
    if unknown is not None:
        raise ModelUnsupportedError(f"{folder}/config.json sets {unknown}, a pooling that is not supported.")
    return tuple(mode for key, mode in _POOLING_FLAGS.items() if key in flags) or ("mean",)


def _longest(folder: str, config: "dict[str, Any]") -> int | None:
    """Return the longest sequence that is read: what sentence-transformers allows, up to the number of positions.

    sentence-transformers takes ``max_seq_length`` from its settings, else what both tokenizer and positions allow.
    """
    file, settings = transformer_settings(folder)
    limit, said = _limit(settings, "max_seq_length", os.path.join(folder, file))
    path = os.path.join(folder, "config.json")
    # XLNet's configuration has -1 for no limit.
    places = None if config.get("max_position_embeddings") == -1 else whole(config, "max_position_embeddings", path)
    kind = str(config.get("model_type"))
    if places and kind in COUNTED_FROM_PADDING:
        padding = padding_token(config, path)
        if places <= padding + 1:
            raise ModelCorruptError(f"{path} has {places} positions, but none after the pad_token_id {padding}.")
        places -= padding + 1
    if said and not (kind in COUNTED_FROM_PADDING or kind in _COUNTED_FROM_ZERO):
        return limit
    if not said:
        name = "tokenizer_config.json"
        tokenizer = mapping(read_json(folder, name), folder, name)
        limit, _ = _limit(tokenizer, "model_max_length", os.path.join(folder, name))
    return min((number for number in (limit, places) if number), default=None)


def padding_token(config: "dict[str, Any]", path: str) -> int:
    """Return the number of the padding token of a model that counts positions from it, given its config.json.

    Raises:
        ModelCorruptError: it is not a valid token number.
    """
    if config.get("model_type") == "mpnet":
        return 1  # whatever its config.json says: the architecture uses no other
    number = config.get("pad_token_id", 1)
    if type(number) is not int or not 0 <= number < _UNLIMITED:
        raise ModelCorruptError(f"{path} has an invalid pad_token_id: {number!a}. Fetch the model again.")
    return number


def whole(values: "dict[str, Any]", key: str, path: str) -> int | None:
    """Return a positive integer from a JSON file, or None if it is null or missing.

    Raises:
        ModelCorruptError: it is something else.
    """
    number = values.get(key)
    if number is not None and (type(number) is not int or not 0 < number < _UNLIMITED):
        raise ModelCorruptError(f"{path} sets {key} to {number!a}, but it must be a positive integer.")
    return number


def _limit(values: "dict[str, Any]", key: str, path: str) -> tuple[int | None, bool]:
    """Return how many tokens a file allows, None for no limit, and whether the key is set. Raises as ``whole``."""
    number = values.get(key)
    if isinstance(number, (int, float)) and number >= _UNLIMITED:
        return None, True
    return whole(values, key, path), number is not None


def mapping(value: object, folder: str, name: str) -> "dict[str, Any]":
    """Return a parsed JSON object, or an empty one for None.

    Raises:
        ModelCorruptError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelCorruptError(f"{folder}/{name} is not a JSON object. Fetch the model again.")
    return value
