"""The manifest of an artifact: what it was made from, and whether its files can be trusted."""

import os
import stat

from ..errors import ArtifactError, lacking
from ..runtime.plain_json import loads
from . import FILE, GRAPH, INT8_WEIGHTS, is_artifact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

FORMAT: "Final" = 3
"""Version of the folder's content; others are rejected, and remade in the store. Integers of format 2 give different
sums on processors without VNNI."""
MAX_BYTES: "Final" = 4 * 2**20

OPENED: "Final" = (".json", ".txt", ".model", ".safetensors", ".onnx", ".data", ".bin")
"""Extensions of the files that an engine, or a library it uses, opens just because they exist."""


class FileEntry:
    """A file: its path relative to the folder, its size and its SHA-256."""

    __slots__ = ("bytes", "name", "sha256")

    def __init__(self, name: str, size: int, sha256: str) -> None:
        self.name = name
        self.bytes = size
        self.sha256 = sha256

    def to_json(self) -> "dict[str, Any]":
        """Return the fields."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}


class Manifest:
    """The description of an artifact.

    Attributes:
        model: the name of the model it was made from.
        precision: ``"float32"`` or ``"int8"``.
        engines: names of the engines that can open it.
        source: the files of the model it was made from.
        files: its own files, except the manifest.
        parity: how its vectors compare with the reference's, by engine: ``{"mean_cosine": ..., "min_cosine": ...}``.
        probes: texts with the original's vectors, see ``loader.artifacts.parity``; any other version of ONNX Runtime
            must reproduce them.
        versions: the versions of the packages it was made with, and the architecture of the ``machine``.
        seconds: how long making it took.
    """

    __slots__ = ("engines", "files", "model", "parity", "precision", "probes", "seconds", "source", "versions")

    def __init__(
        self,
        model: str,
        precision: str,
        engines: tuple[str, ...],
        source: tuple[FileEntry, ...],
        files: tuple[FileEntry, ...],
        parity: "dict[str, dict[str, float]]",
        probes: "dict[str, Any]",
        versions: dict[str, str],
        seconds: float,
    ) -> None:
        self.model = model
        self.precision = precision
        self.engines = engines
        self.source = source
        self.files = files
        self.parity = parity
        self.probes = probes
        self.versions = versions
        self.seconds = seconds

    def to_json(self) -> bytes:
        """Return the file's content."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["source"] = [entry.to_json() for entry in self.source]
        fields["files"] = [entry.to_json() for entry in self.files]
        import json

        return json.dumps({"format": FORMAT, **fields}, indent=1, sort_keys=True).encode()


def prepared_bytes(folder: str) -> int:
    """Return the size of the weights of an artifact without full-precision safetensors; 0 for other folders."""
    weights = (INT8_WEIGHTS, f"{GRAPH}.data")
    found = 0
    for place, _, names in os.walk(folder) if is_artifact(folder) else ():
        found += sum(os.stat(os.path.join(place, name)).st_size for name in names if name in weights)
    return found


def read_manifest(folder: str) -> Manifest:
    """Return the manifest of a folder, not yet verified.

    Raises:
        ArtifactError: there is none, or it is damaged, of another version, or not ours.
        ModelUnreadableError: it cannot be read now.
    """
    path = os.path.join(folder, FILE)
    check_ownership(folder)
    check_ownership(path)
    try:
        with open(path, "rb") as file:
            data = loads(file.read(MAX_BYTES))
        found = data.pop("format")
        if found == FORMAT:
            return _manifest(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise lacking(path, error) or ArtifactError(f"{path} cannot be read: {error!r}. {ADVICE}") from error
    raise ArtifactError(f"{path} was made by another version of this library (format {found!a}). {ADVICE}")


def verify_artifact(folder: str, manifest: Manifest, *, anew: bool = False) -> None:
    """Check that the files of an artifact exist, are complete, and cannot be changed by others.

    Args:
        folder: the artifact.
        manifest: its manifest.
        anew: whether to hash the files even if an earlier process did; see ``loader.model.file_hash``.

    Raises:
        ArtifactError: a file is missing, truncated, changed, a link, or writable by others; or a file that engines open
            is not listed.
        ModelUnreadableError: a file cannot be read now.
    """
    from ..model.file_hash import remembered_sha256

    _check_complete(folder, {entry.name for entry in manifest.files} | {FILE})
    for entry in manifest.files:
        path = folder
        for part in entry.name.split("/")[:-1]:
            path = os.path.join(path, part)
            check_ownership(path)
        path = os.path.join(folder, entry.name)
        size = check_ownership(path)
        if size != entry.bytes:
            raise ArtifactError(f"{path} has {size} bytes, but its manifest says {entry.bytes}. {ADVICE}")
        try:
            found = remembered_sha256(path, anew=anew)
        except (OSError, MemoryError) as error:
            raise lacking(path, error) or ArtifactError(f"{path} cannot be read: {error}. {ADVICE}") from error
        if found != entry.sha256:
            raise ArtifactError(f"{path} was changed: its SHA-256 differs from the manifest's. {ADVICE}")


def _check_complete(folder: str, listed: set[str]) -> None:
    """Reject files that the manifest does not list: anyone who adds one could change the vectors."""
    for place, folders, files in os.walk(folder):
        for name in folders:
            check_ownership(os.path.join(place, name))  # links are not followed
        for name in files:
            path = os.path.join(place, name)
            if name.endswith(OPENED) and os.path.relpath(path, folder).replace(os.sep, "/") not in listed:
                raise ArtifactError(f"{path} is not listed in the manifest, so it cannot be verified. {ADVICE}")


ADVICE: "Final" = "Delete the folder and run 'python -m loader compile' again."


def check_ownership(path: str) -> int:
    """Return the size of a file or folder that only this user or root can have written.

    Raises:
        ArtifactError: it is missing, a link, another user's, or writable by others.
        ModelUnreadableError: it cannot be examined now.
    """
    try:
        found = os.lstat(path)
    except OSError as error:
        lack = lacking(path, error)
        raise lack or ArtifactError(f"{path} cannot be read: {error.strerror or error}. {ADVICE}") from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ArtifactError(f"{path} is a link or a special file; artifacts hold only plain files. {ADVICE}")
    if hasattr(os, "geteuid") and found.st_uid not in {os.geteuid(), 0}:
        raise ArtifactError(f"{path} belongs to another user. Copy the folder, or compile the model yourself.")
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArtifactError(f"{path} is writable by other users. Restrict it: chmod -R go-w {path}")
    return found.st_size


def check_offers(folder: str, precision: str) -> None:
    """Check that a model folder can give vectors of a precision, if it is an artifact.

    Raises:
        ArtifactError: it holds 8-bit weights, but full precision is requested; or it cannot be read.
    """
    if not is_artifact(folder):
        return
    held = read_manifest(folder).precision
    if held == "int8" and precision != "int8":
        raise ArtifactError(
            f"{folder} was prepared with 8-bit weights, which cannot give {precision} vectors. Load it with the "
            "strategy 'quantized', or give the original model's name."
        )


def _manifest(data: "dict[str, Any]") -> Manifest:
    """Return the manifest from parsed fields; raises what the parser of a damaged file may raise."""
    for key in ("source", "files"):
        data[key] = tuple(_entry(fields) for fields in data[key])
    manifest = Manifest(**data)
    names, engines, versions = (manifest.model, manifest.precision), manifest.engines, manifest.versions
    if (
        not all(isinstance(name, str) and name.isprintable() for name in names)
        or not isinstance(engines, list)
        or not all(isinstance(value, str) for value in (*engines, *versions.values()))
        or not all(isinstance(compared, dict) for compared in (manifest.parity, manifest.probes))
        or not isinstance(manifest.seconds, (int, float))
        or not manifest.files
    ):
        raise ValueError("a field has the wrong type")
    manifest.engines = tuple(engines)
    return manifest


def _entry(fields: "dict[str, Any]") -> FileEntry:
    name, size, digest = fields["name"], fields["bytes"], fields["sha256"]
    parts = name.split("/")
    # A colon names a drive, or a file's second stream, on Windows.
    if not all(parts) or any(part in {".", ".."} for part in parts) or not name.isprintable() or {*"\\:"} & {*name}:
        raise ValueError(f"a file outside the folder: {name!a}")
    if type(size) is not int or not isinstance(digest, str) or len(digest) != 64:
        raise ValueError(f"an invalid entry for {name!a}")
    return FileEntry(name, size, digest)
