"""What a sentence-transformers model does to a text, read from its own files: which modules, in which order.

``modules.json`` lists the modules, each with a folder of its own for its configuration. Everything that changes a
vector is either understood here or refused by name, so that no model is embedded wrongly. What is inside of the
transformer is ``loader.encoder``'s subject.
"""

import os

from .errors import ModelCorruptError, ModelUnsupportedError
from .modelfiles import mapping, read_facts, read_json, transformer_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

POOLING_MODES: "Final" = ("cls", "max", "mean", "mean_sqrt_len_tokens")
"""The modes that are implemented; several at once are concatenated."""

_LEGACY_POOLING: "Final" = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: "Final" = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
}
"""Activation functions of Dense modules, by the names that sentence-transformers saves."""

# Settings of a module that may only have these values; a setting that is missing has the first.
_TRANSFORMER_SETTINGS: "dict[str, tuple[object, ...]]" = {
    "do_lower_case": (False, None),
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "processing_kwargs": (None, {}),
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None, False),
    **dict.fromkeys(
        ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"), (None, {})
    ),
}
_SENTENCE_EMBEDDING = ("sentence_embedding", None)


class Dense:
    """A linear layer behind the pooling.

    Attributes:
        folder: where its ``model.safetensors`` is, with ``linear.weight`` (out, in) and perhaps ``linear.bias`` (out,).
        activation: a value of ``ACTIVATIONS``.
        bias: whether it has one.
    """

    __slots__ = ("activation", "bias", "folder")

    def __init__(self, folder: str, activation: str, bias: bool) -> None:
        self.folder = folder
        self.activation = activation
        self.bias = bias


class Pipeline:
    """The modules of a model.

    Attributes:
        folder: the model's.
        folders: of all modules.
        transformer: the folder of the first, which may be the model's own.
        config: its config.json.
        max_seq_length: longest sequence in tokens, special tokens included, or None.
        pooling: some of ``POOLING_MODES``, in the order of concatenation.
        dense: layers behind the pooling, in order.
        dimension: length of a vector, as the files say it, or None.
        prompts: ``{"query": ..., "document": ...}``: what goes before a text.
    """

    __slots__ = (
        "config",
        "dense",
        "dimension",
        "folder",
        "folders",
        "max_seq_length",
        "pooling",
        "prompts",
        "transformer",
    )

    def __init__(self, folder: str) -> None:
        """Read the configuration files of a model folder.

        Raises:
            ModelCorruptError: a file is damaged.
            ModelUnsupportedError: a module or a setting is not understood.
        """
        facts = read_facts(folder)
        self.folder = folder
        self.max_seq_length = facts.max_seq_length
        self.dimension = facts.embedding_dim
        modules = _modules(folder)
        kinds = [kind for kind, _ in modules]
        behind = kinds[2:]
        if kinds[:2] != ["Transformer", "Pooling"] or sorted(behind) != behind or not _BEHIND.issuperset(behind):
            raise ModelUnsupportedError(
                f"{folder}/modules.json has the modules {', '.join(kinds)}. Understood are Transformer, Pooling, then "
                "any number of Dense, then Normalize."
            )
        paths = [os.path.join(folder, path) if path else folder for _, path in modules]
        _check_transformer(paths[0])
        self.transformer = paths[0]
        self.folders = tuple(paths)
        self.pooling = _pooling(paths[1])
        self.dense = tuple(_dense(path) for kind, path in zip(behind, paths[2:], strict=True) if kind == "Dense")
        self.config = mapping(read_json(self.transformer, "config.json"), self.transformer, "config.json")
        self.prompts = _prompts(folder)


_BEHIND = frozenset({"Dense", "Normalize"})
# Normalize has nothing to read: it may only come last, and there the provider does the same for every model.


def _check_transformer(path: str) -> None:
    file, settings = transformer_settings(path)
    _check(path, file, settings, _TRANSFORMER_SETTINGS)
    if os.path.exists(os.path.join(path, "adapter_config.json")):
        raise ModelUnsupportedError(f"{path} has an adapter_config.json: weights that are added to another model's.")


def _modules(folder: str) -> list[tuple[str, str]]:
    """Return the class name and the sub-folder of each module."""
    modules = read_json(folder, "modules.json")
    if modules is None:
        raise ModelUnsupportedError(
            f"{folder} has no modules.json, so nothing says how its tokens become one vector. "
            "Save it with sentence-transformers once."
        )
    if not isinstance(modules, list):
        raise ModelCorruptError(f"{folder}/modules.json is not a list of modules. Fetch the model again.")
    listed = []
    for module in modules:
        entry = mapping(module, folder, "modules.json")
        kind, path = str(entry.get("type", "")), str(entry.get("path", ""))
        library, _, name = kind.rpartition(".")
        if library.partition(".")[0] != "sentence_transformers":
            raise ModelUnsupportedError(f"{folder}/modules.json has the module {kind!a}, which is not understood.")
        if os.path.isabs(path) or ".." in path.replace("\\", "/").split("/"):
            raise ModelCorruptError(f"{folder}/modules.json names the folder {path!a}, outside of the model.")
        listed.append((name, path))
    return listed


def _pooling(path: str) -> tuple[str, ...]:
    settings = mapping(read_json(path, "config.json"), path, "config.json")
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _LEGACY_POOLING.items() if settings.get(key) is True] or ["mean"]
    chosen = modes if isinstance(modes, list) else [modes]
    for mode in chosen:
        if mode not in POOLING_MODES:
            raise ModelUnsupportedError(f"{path} pools by {mode!a}; understood are {', '.join(POOLING_MODES)}.")
    _check(path, "config.json", settings, {"include_prompt": (True,)})
    return tuple(chosen)


def _dense(path: str) -> Dense:
    settings = mapping(read_json(path, "config.json"), path, "config.json")
    _check(path, "config.json", settings, _in_and_out("module_input_name", "module_output_name"))
    _check(path, "config.json", settings, {"use_residual": (False, None)})
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ModelUnsupportedError(f"{path} has the activation function {activation!a}, which is not understood.")
    return Dense(path, ACTIVATIONS[activation], settings.get("bias", True) is not False)


def _in_and_out(*names: str) -> "dict[str, tuple[object, ...]]":
    return dict.fromkeys(names, _SENTENCE_EMBEDDING)


def _check(path: str, file: str, settings: "dict[str, Any]", allowed: "dict[str, tuple[object, ...]]") -> None:
    for name, values in allowed.items():
        if settings.get(name, values[0]) not in values:
            raise ModelUnsupportedError(f"{path}/{file} sets {name} to {settings[name]!a}, which is not understood.")


def _prompts(folder: str) -> dict[str, str]:
    """Return the prompts by the rule of ``encode_query`` and ``encode_document`` of sentence-transformers.

    Both names are always declared, with an empty text if need be: other names, such as ``"passage"``, and the default
    prompt's are never looked at.
    """
    settings = mapping(
        read_json(folder, "config_sentence_transformers.json"), folder, "config_sentence_transformers.json"
    )
    _check(folder, "config_sentence_transformers.json", settings, {"truncate_dim": (None,)})
    declared = mapping(settings.get("prompts"), folder, "config_sentence_transformers.json")
    prompts = {kind: declared.get(kind) or "" for kind in ("query", "document")}
    if not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise ModelCorruptError(f"{folder}/config_sentence_transformers.json has prompts that are no texts.")
    return prompts
