"""Facts about a model that are known without loading it: ``ModelMetadata`` and its cache."""

import os
import time

from ..errors import CacheError, ModelError
from ..runtime.log import log
from ..runtime.paths import at_once, cache_folder, write_atomically
from ..runtime.plain_json import dumps, loads
from .config_files import QUANTIZABLE_FAMILIES, read_facts, transformer_folder
from .names import check_name, is_path, repo_ids
from .source import ModelFolder, find
from .weight_files import weight_files

FORMAT = 2
"""Version of the cache files; another version is a miss. A file's time of modification is the model's last use."""
MAX_CACHE_FILE_BYTES = 65_536
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_FILE_NAME = 200
"""Longer file names are hashed; most file systems allow 255 bytes."""


class ModelMetadata:
    """Facts about a model, read from its own files.

    Attributes:
        model_name: the requested name.
        embedding_dim: length of a vector, or None if the files do not say.
        max_seq_length: longest sequence in tokens, special tokens included, or None; longer text is truncated.
        model_size_mb: size of the weight files in MiB.
        supports_quantization: whether 8-bit weights suit the architecture (its family is one of
            ``loader.model.config_files.QUANTIZABLE_FAMILIES``).
        last_used: when the model was last loaded on this machine, in seconds since the epoch, or None.
    """

    __slots__ = (
        "embedding_dim",
        "last_used",
        "max_seq_length",
        "model_name",
        "model_size_mb",
        "supports_quantization",
    )

    def __init__(
        self,
        model_name: str,
        embedding_dim: int | None,
        max_seq_length: int | None,
        model_size_mb: float,
        supports_quantization: bool,
        last_used: float | None = None,
    ) -> None:
        self.model_name = model_name
        self.embedding_dim = embedding_dim
        self.max_seq_length = max_seq_length
        self.model_size_mb = model_size_mb
        self.supports_quantization = supports_quantization
        self.last_used = last_used

    def __repr__(self) -> str:
        return f"ModelMetadata({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelMetadata):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    __hash__ = None  # type: ignore[assignment]  # mutable


_CACHED = ("model_name", "embedding_dim", "max_seq_length", "model_size_mb", "supports_quantization")
_FIELDS = (*_CACHED, "last_used")


def lookup(name: object) -> ModelMetadata | None:
    """Return the metadata of a model without loading or downloading it, or None if nothing is known.

    Sources, in this order: the model's files, what an earlier process on this machine read from them, and a small table
    that ships with the library (``loader.model.known_models``).

    Raises:
        ArgumentTypeError, ModelNameError: the name is invalid.
        ModelCorruptError: the model is on this machine and its files are damaged.
        ModelNotFoundError: the name is a path that does not lead to a model.
    """
    text = check_name(name)
    folder = find(text)
    cached = read_cached(text)
    if folder is not None:
        return read(folder, last_used=cached.last_used if cached else None)
    return cached or _shipped(text)


def read(folder: ModelFolder, *, last_used: float | None = None) -> ModelMetadata:
    """Return the metadata of a model on this machine, from its files.

    Raises:
        ModelCorruptError: a file is damaged.
    """
    facts = read_facts(folder.path)
    try:
        weights = sum(os.stat(path).st_size for path in weight_files(transformer_folder(folder.path)))
    except ModelError:
        # It has no safetensors: a prepared model, or one that cannot be loaded, and loading says why.
        from ..artifacts.manifest import prepared_bytes

        weights = prepared_bytes(folder.path)
    return ModelMetadata(
        folder.name,
        facts.embedding_dim,
        facts.max_seq_length,
        weights / 2**20,
        facts.model_type in QUANTIZABLE_FAMILIES and weights > 0,
        last_used,
    )


def remember_use(metadata: ModelMetadata) -> None:
    """Note in the cache that this model was just loaded, with what its files say.

    If the cache cannot be written, this is logged and otherwise ignored: the model is ready all the same.
    """
    metadata.last_used = time.time()
    try:
        write_cached(metadata)
    except CacheError as error:
        log("warning", "%s", error)


def write_cached(metadata: ModelMetadata) -> None:
    """Make the cache say this, and that the model is used now. A file that says it already gets a new time only.

    Raises:
        CacheError: it cannot be written; the previous file is intact.
    """
    path = cache_file(metadata.model_name)
    content = dumps({"format": FORMAT, **{name: getattr(metadata, name) for name in _CACHED}})
    try:
        with open(path, "rb", opener=at_once) as file:
            if file.read(len(content) + 1) == content:
                os.utime(path)  # takes a tenth of the time of writing the file
                return
    except OSError:
        pass  # there is none, or it is not ours
    write_atomically(path, content)


def read_cached(name: str) -> ModelMetadata | None:
    """Return what the cache holds for this name; a file that is damaged, of another model or out of range is a miss."""
    path = cache_file(name)
    try:
        with open(path, "rb", opener=at_once) as file:
            data = loads(file.read(MAX_CACHE_FILE_BYTES))
            last_used = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        log("warning", "Ignoring the metadata cache file %s: %s", path, error)
        return None
    metadata = _validated(data, name, last_used)
    if metadata is None:
        log("warning", "Ignoring the metadata cache file %s: unexpected content", path)
    return metadata


def _validated(data: object, name: str, last_used: float) -> ModelMetadata | None:
    def whole(value: object) -> bool:
        return value is None or (type(value) is int and 0 < value < 2**31)

    def number(value: object) -> bool:
        return type(value) in {int, float} and 0 <= value < 1e12  # type: ignore[operator]

    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("model_name") != name:
        return None
    valid = (
        data.keys() >= set(_CACHED)
        and whole(data["embedding_dim"])
        and whole(data["max_seq_length"])
        and number(data["model_size_mb"])
        and type(data["supports_quantization"]) is bool
    )
    return ModelMetadata(**{name: data[name] for name in _CACHED}, last_used=last_used) if valid else None


def cache_file(name: str) -> str:
    """Return the cache file for a name. ``a/b`` and ``a--b`` differ, and no name can leave the folder."""
    # A folder here may have the name of a hub model, and not exist in other working directories.
    key = os.path.abspath(os.path.expanduser(name)) if is_path(name) or os.path.isdir(name) else name
    # Everything except lower-case letters, digits and "-" is written as its code point; capitals too, because some file
    # systems ignore case.
    safe = "".join(c if c in _SAFE else f"%{ord(c):x}." for c in key)
    if len(safe) > _LONGEST_FILE_NAME:
        import hashlib  # 6 ms, so only if needed

        safe = "%" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return os.path.join(cache_folder(), "metadata", f"{safe}.json")


def _shipped(name: str) -> ModelMetadata | None:
    if is_path(name):
        return None
    from .known_models import KNOWN_MODELS

    for repo_id in repo_ids(name):
        if repo_id in KNOWN_MODELS:
            dimension, longest, size = KNOWN_MODELS[repo_id]
            return ModelMetadata(name, dimension, longest, size / 2**20, supports_quantization=True)
    return None
