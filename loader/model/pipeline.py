"""What a sentence-transformers model does to a text, read from its files: which modules, in which order.

``modules.json`` lists the modules, each with its own configuration folder. Without it, as transformers saves a model, a
text's vector is the mean of those of its tokens. Everything that changes a vector is either supported here or rejected
by name, so that no vector is wrong. ``loader.encoder`` handles the inside of the transformer.
"""

import os

from ..errors import ModelCorruptError, ModelUnsupportedError
from .config_files import inside, mapping, pooling_modes, read_facts, read_json, transformer_settings, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

POOLING_MODES: "Final" = ("cls", "max", "mean", "mean_sqrt_len_tokens")
"""The supported modes; several at once are concatenated."""

ACTIVATIONS: "Final" = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
}
"""Activation functions of Dense modules, by the names that sentence-transformers saves."""

# Settings of a module that may only have these values; the first is the default.
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
_TEXT_INPUT = {"method": "forward", "method_output_name": "last_hidden_state"}
"""How texts are processed, if a transformer's settings say so."""
_SENTENCE_EMBEDDING = ("sentence_embedding", None)


class Dense:
    """A linear layer after the pooling.

    Attributes:
        folder: where its ``model.safetensors`` is, with ``linear.weight`` (out, in) and perhaps ``linear.bias`` (out,).
        activation: a value of ``ACTIVATIONS``.
        bias: whether it has a bias.
    """

    __slots__ = ("activation", "bias", "folder")

    def __init__(self, folder: str, activation: str, bias: bool) -> None:
        self.folder = folder
        self.activation = activation
        self.bias = bias


class Pipeline:
    """The modules of a model.

    Attributes:
        folder: the model's folder.
        folders: the folders of all modules.
        is_static: whether a table of vectors, of which a text has the mean, stands in the place of a transformer.
        transformer: the folder of the first module, which may be the model's folder.
        config: that module's config.json; a table has none.
        max_seq_length: longest sequence in tokens, special tokens included, or None.
        pooling: some of ``POOLING_MODES``, in the order of concatenation.
        dense: layers after the pooling, in order.
        dimension: length of a vector according to the files, or None.
        prompts: ``{"query": ..., "document": ...}``: what goes before a text.
    """

    __slots__ = (
        "config",
        "dense",
        "dimension",
        "folder",
        "folders",
        "is_static",
        "max_seq_length",
        "pooling",
        "prompts",
        "transformer",
    )

    def __init__(self, folder: str) -> None:
        """Read the configuration files of a model folder.

        Raises:
            ModelCorruptError: a file is damaged.
            ModelUnsupportedError: a module or a setting is not supported.
        """
        facts = read_facts(folder)
        self.folder = folder
        self.max_seq_length = facts.max_seq_length
        self.dimension = facts.embedding_dim
        modules, fronts = _modules(folder), _FRONTS
        if modules is None:
            _check_plain(folder)
            modules, fronts = [("Transformer", "")], (("Transformer",),)
        kinds = tuple(kind for kind, _ in modules)
        front = next((front for front in fronts if kinds[: len(front)] == front), ())
        behind = kinds[len(front) :]
        if not front or list(behind) != sorted(behind) or not _BEHIND.issuperset(behind):
            raise ModelUnsupportedError(
                f"{folder}/modules.json has the modules {', '.join(kinds)}. Supported are Transformer and Pooling, or "
                "StaticEmbedding, then any number of Dense, then Normalize."
            )
        paths = [os.path.join(folder, path) if path else folder for _, path in modules]
        self.is_static = "StaticEmbedding" in front
        self.transformer = paths[0]
        self.folders = tuple(paths)
        self.config: dict[str, Any] = {}
        self.pooling: tuple[str, ...] = ("mean",)
        if not self.is_static:
            _check_transformer(paths[0])
            self.config = mapping(read_json(self.transformer, "config.json"), self.transformer, "config.json")
        if "Pooling" in front:
            self.pooling = _pooling(paths[1])
        dense = zip(behind, paths[len(front) :], strict=True)
        self.dense = tuple(_dense(path) for kind, path in dense if kind == "Dense")
        self.prompts = _prompts(folder)

    def check_dimension(self, found: int) -> None:
        """Compare the length of the vectors with what the files say.

        Raises:
            ModelCorruptError: they differ.
        """
        if self.dimension not in {None, found}:
            raise ModelCorruptError(
                f"{self.folder} has vectors of {found} numbers, but its modules' config.json files say "
                f"{self.dimension}."
            )


_FRONTS: "tuple[tuple[str, ...], ...]" = (("Transformer", "Pooling"), ("StaticEmbedding",))
_BEHIND = frozenset({"Dense", "Normalize"})
# Normalize has no settings: it may only come last, and the provider normalises the vectors of every model anyway.


def _check_transformer(path: str) -> None:
    file, settings = transformer_settings(path)
    _check(path, file, settings, _TRANSFORMER_SETTINGS)
    inputs = settings.get("modality_config")
    entries = mapping(inputs, path, file)
    if inputs is not None and (entries.get("text") != _TEXT_INPUT or "message" in entries):
        raise ModelUnsupportedError(f"{path}/{file} sets modality_config to {inputs!a}, which is not supported.")
    if os.path.exists(os.path.join(path, "adapter_config.json")):
        raise ModelUnsupportedError(f"{path} has an adapter_config.json; adapters of another model are not supported.")


def _check_plain(folder: str) -> None:
    """Reject a folder without modules.json whose vectors sentence-transformers would not make from its tokens' mean.

    It takes the last token's vector where a model was trained to write, and ignores what belongs to a modules.json.
    """
    config = mapping(read_json(folder, "config.json"), folder, "config.json")
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    name = "config_sentence_transformers.json"
    reason = None
    if isinstance(first, str) and first.endswith("ForCausalLM"):
        reason = f"its architecture is {first!a}"
    elif transformer_settings(folder)[1]:
        reason = f"it has a {transformer_settings(folder)[0]}"
    elif read_json(folder, name) is not None:
        reason = f"it has a {name}"
    if reason:
        raise ModelUnsupportedError(
            f"{folder} has no modules.json, and {reason}, so it is unknown how its tokens become one vector. "
            "Save it once with sentence-transformers."
        )


def _modules(folder: str) -> list[tuple[str, str]] | None:
    """Return the class name and the sub-folder of each module, or None if the model is not divided into modules."""
    modules = read_json(folder, "modules.json")
    if modules is None:
        return None
    if not isinstance(modules, list):
        raise ModelCorruptError(f"{folder}/modules.json is not a list of modules. Fetch the model again.")
    listed = []
    for module in modules:
        entry = mapping(module, folder, "modules.json")
        kind, path = str(entry.get("type", "")), inside(folder, entry.get("path", ""))
        library, _, name = kind.rpartition(".")
        if library.partition(".")[0] != "sentence_transformers":
            raise ModelUnsupportedError(f"{folder}/modules.json has the module {kind!a}, which is not supported.")
        listed.append((name, path))
    return listed


def _pooling(path: str) -> tuple[str, ...]:
    settings = mapping(read_json(path, "config.json"), path, "config.json")
    _require(path, settings, "word_embedding_dimension", "embedding_dimension")
    chosen = pooling_modes(settings, path)
    for mode in chosen:
        if mode not in POOLING_MODES:
            raise ModelUnsupportedError(f"{path} pools by {mode!a}; supported are {', '.join(POOLING_MODES)}.")
    _check(path, "config.json", settings, {"include_prompt": (True,)})
    return chosen


def _dense(path: str) -> Dense:
    settings = mapping(read_json(path, "config.json"), path, "config.json")
    _check(path, "config.json", settings, _in_and_out("module_input_name", "module_output_name"))
    _check(path, "config.json", settings, {"use_residual": (False, None)})
    for key in ("in_features", "out_features"):
        _require(path, settings, key)
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ModelUnsupportedError(f"{path} has the activation function {activation!a}, which is not supported.")
    return Dense(path, ACTIVATIONS[activation], bool(settings.get("bias", True)))


def _in_and_out(*names: str) -> "dict[str, tuple[object, ...]]":
    return dict.fromkeys(names, _SENTENCE_EMBEDDING)


def _require(path: str, settings: "dict[str, Any]", *names: str) -> None:
    """Reject a module whose config.json is missing or belongs to another module: its defaults would be a guess.

    Raises:
        ModelCorruptError: it has none of the numbers that every such file has.
    """
    if not any(whole(settings, name, os.path.join(path, "config.json")) for name in names):
        raise ModelCorruptError(f"{path}/config.json is missing, or has no {names[0]}. Fetch the model again.")


def _check(path: str, file: str, settings: "dict[str, Any]", allowed: "dict[str, tuple[object, ...]]") -> None:
    for name, values in allowed.items():
        if settings.get(name, values[0]) not in values:
            raise ModelUnsupportedError(f"{path}/{file} sets {name} to {settings[name]!a}, which is not supported.")


def _prompts(folder: str) -> dict[str, str]:
    """Return the prompts by the rule of ``encode_query`` and ``encode_document`` of sentence-transformers.

    Both names are always declared, if only with an empty text: other names, such as ``"passage"`` or that of the
    default prompt, are never used.
    """
    settings = mapping(
        read_json(folder, "config_sentence_transformers.json"), folder, "config_sentence_transformers.json"
    )
    # sentence-transformers converts models of other kinds (sparse ones, cross-encoders) when it loads them.
    allowed: dict[str, tuple[object, ...]] = {"truncate_dim": (None,), "model_type": ("SentenceTransformer",)}
    _check(folder, "config_sentence_transformers.json", settings, allowed)
    declared = mapping(settings.get("prompts"), folder, "config_sentence_transformers.json")
    prompts = {kind: declared.get(kind) or "" for kind in ("query", "document")}
    if not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise ModelCorruptError(f"{folder}/config_sentence_transformers.json has prompts that are not strings.")
    return prompts
