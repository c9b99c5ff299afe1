"""The artifacts of this user: found again, made one at a time, published in one step, evicted when they take too much.

Layout, below the cache folder::

    artifacts/<model>--<precision>--<12 digits of the source's hash>/   an artifact
    artifacts/<the same>.used                                            its time stamp is the last use
    artifacts/.new-<random>/                                             one being made, or left by a killed compile
    artifacts/.lock                                                      held while one is made

One lock for all: while it is held, every ``.new-`` folder of somebody else is a leftover.
"""

import os
import shutil

from ..errors import ArtifactError, CacheError, ModelError
from ..exitgate import GATE
from ..log import log
from ..paths import cache_folder
from ..pipeline import Pipeline
from .manifest import Manifest, is_artifact, read_manifest, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

LIMIT_VARIABLE: "Final" = "EMBEDDING_LOADER_CACHE_LIMIT_MB"
DEFAULT_LIMIT_MB: "Final" = 4096
"""MiB that all artifacts together may take."""
_NEW: "Final" = ".new-"
_SAFE: "Final" = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._")


class Artifact:
    """An artifact of the store.

    Attributes:
        folder: where it is.
        manifest: what it says of itself.
    """

    __slots__ = ("folder", "manifest")

    def __init__(self, folder: str, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(entry.bytes for entry in self.manifest.files)

    @property
    def last_used(self) -> float:
        """When it was last opened, in seconds since the epoch."""
        try:
            return os.stat(f"{self.folder}.used").st_mtime
        except OSError:
            return 0.0


def root() -> str:
    """Return the folder of the store (not created)."""
    return os.path.join(cache_folder(), "artifacts")


def find(source: str, engine: str, precision: str) -> Artifact | None:
    """Return a verified artifact of a model folder for an engine and a precision, or None.

    The folder may be an artifact itself. One of the store that is damaged or was made from other files is passed over.

    Args:
        source: the model's folder.
        engine: name of the engine.
        precision: ``"float32"`` or ``"int8"``.

    Raises:
        ArtifactError: the folder is itself an artifact, and damaged, not trusted, or made for something else.
        ModelError: the model's own files are damaged.
    """
    if is_artifact(source):
        manifest = read_manifest(source)
        if manifest.precision == precision and engine in manifest.engines:
            verify(source, manifest)
            return Artifact(source, manifest)
        # The weights of one with full precision are the original's: others may have been made from it.
        if manifest.precision != "float32" or "numpy" not in manifest.engines or precision == "float32":
            raise ArtifactError(
                f"{source} was prepared as {manifest.precision} for {' and '.join(manifest.engines)}, not as "
                f"{precision} for {engine}. Give the original model's name."
            )
    known: dict[str, tuple[int, str]] | None = None
    for artifact in _candidates(precision):
        manifest = artifact.manifest
        if engine not in manifest.engines or not _may_be_from(source, manifest):
            continue
        if known is None:
            from .build import source_files

            known = {entry.name: (entry.bytes, entry.sha256) for entry in source_files(Pipeline(source))}
        if known != {entry.name: (entry.bytes, entry.sha256) for entry in manifest.source}:
            continue
        try:
            verify(artifact.folder, manifest)
        except ArtifactError as error:
            log("warning", "%s", error)
            continue
        _touch(artifact.folder)
        return artifact
    return None


def _may_be_from(source: str, manifest: Manifest) -> bool:
    """Whether sizes agree: cheap, before anything is hashed."""
    try:
        return all(os.stat(os.path.join(source, entry.name)).st_size == entry.bytes for entry in manifest.source)
    except OSError:
        return False


def _candidates(precision: str) -> "Iterator[Artifact]":
    try:
        names = sorted(os.listdir(root()))
    except OSError:
        return
    for name in names:
        if f"--{precision}--" in name and not name.endswith(".used"):
            try:
                manifest = read_manifest(os.path.join(root(), name))
            except ArtifactError as error:
                log("warning", "%s", error)
                continue
            if manifest.precision == precision:
                yield Artifact(os.path.join(root(), name), manifest)


def everything() -> "list[tuple[str, Artifact | ArtifactError]]":
    """Return all artifacts by folder, with the error of each that cannot be read."""
    found: list[tuple[str, Artifact | ArtifactError]] = []
    try:
        names = sorted(os.listdir(root()))
    except OSError:
        return found
    for name in names:
        folder = os.path.join(root(), name)
        if name.startswith(".") or not os.path.isdir(folder):
            continue
        try:
            found.append((folder, Artifact(folder, read_manifest(folder))))
        except ArtifactError as error:
            found.append((folder, error))
    return found


class Workshop:
    """Where one artifact is made: holds the store's lock, and gives a folder that is thrown away unless published."""

    def __init__(self) -> None:
        import filelock

        self._folder: str | None = None
        self._root = root()  # once: what is swept below is what is locked here, wherever the variable points later
        limit_bytes()  # a value that cannot be meant is better refused before the work than after it
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
            self._lock = filelock.FileLock(os.path.join(self._root, ".lock"), mode=0o600)
            while not self._lock.is_locked:
                GATE.checkpoint()  # the interpreter may begin to exit while another process compiles
                try:
                    self._lock.acquire(timeout=0.5)
                except filelock.Timeout:
                    continue
            _sweep(self._root)
        except OSError as error:
            raise _cannot_write(self._root, error) from error

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # Also what a killed one's child may have written since the first sweep.
            _sweep(self._root)
        except OSError as error:
            log("info", "%s cannot be tidied up: %s", self._root, error)
        finally:
            self._lock.release()

    def folder(self) -> str:
        """Return a new, empty folder.

        Raises:
            CacheError: it cannot be made.
        """
        self._folder = os.path.join(self._root, _NEW + os.urandom(6).hex())
        try:
            os.mkdir(self._folder, mode=0o700)
        except OSError as error:
            raise _cannot_write(self._root, error) from error
        return self._folder

    def publish(self) -> Artifact:
        """Give the finished folder its name, in one step; an artifact of that name is replaced.

        Raises:
            CacheError: the disk; what was there before is intact.
            ArtifactError: what was made cannot be read.
        """
        assert self._folder is not None  # noqa: S101 - the order of calls
        manifest = read_manifest(self._folder)
        final = os.path.join(self._root, _name(manifest))
        try:
            if os.path.lexists(final):
                os.rename(final, os.path.join(self._root, _NEW + os.urandom(6).hex()))
            os.rename(self._folder, final)
        except OSError as error:
            raise _cannot_write(final, error) from error
        self._folder = None
        _touch(final)
        artifact = Artifact(final, manifest)
        evict(keep=final)
        return artifact


def _sweep(store: str) -> None:
    """Remove what was being made; only for whoever holds the lock."""
    for name in os.listdir(store):
        if name.startswith(_NEW):
            shutil.rmtree(os.path.join(store, name), ignore_errors=True)


def evict(*, keep: str = "") -> list[str]:
    """Remove artifacts until the others fit the limit, damaged ones first, then the least recently used.

    Args:
        keep: one that stays in any case.

    Returns:
        The removed folders. One that cannot be removed is logged and stays.
    """
    sizes = {folder: _size(folder, found) for folder, found in everything()}
    total, limit, removed = sum(size for _, size in sizes.values()), limit_bytes(), []
    for folder, (_, size) in sorted(sizes.items(), key=lambda item: item[1]):
        if total <= limit:
            break
        if folder == keep:
            continue
        try:
            remove(folder)
        except CacheError as error:
            log("warning", "%s", error)
            continue
        removed.append(folder)
        total -= size
        log("info", "Removed %s: artifacts took more than %d MiB", folder, limit >> 20)
    return removed


def _size(folder: str, found: "Artifact | ArtifactError") -> tuple[float, int]:
    """Return when an artifact was last used, -1 for a damaged one, and its size."""
    if isinstance(found, Artifact):
        return found.last_used, found.bytes
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return -1.0, sum(os.lstat(path).st_size for path in paths if os.path.lexists(path))


def remove(folder: str) -> None:
    """Remove an artifact of the store. Processes that have it open keep what they mapped.

    Raises:
        CacheError: it cannot be removed.
    """
    doomed = os.path.join(root(), _NEW + os.urandom(6).hex())
    try:
        os.rename(folder, doomed)  # in one step: nobody finds half of it
    except FileNotFoundError:
        pass  # somebody else did
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        os.unlink(f"{folder}.used")
    except OSError:
        pass
    shutil.rmtree(doomed, ignore_errors=True)  # what is left of it, the next compile removes


def limit_bytes() -> int:
    """Return how many bytes all artifacts may take together: EMBEDDING_LOADER_CACHE_LIMIT_MB, or 4 GiB."""
    text = os.environ.get(LIMIT_VARIABLE, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise CacheError(f"{LIMIT_VARIABLE}={text!a} is not a number of MiB.")
    return int(text or DEFAULT_LIMIT_MB) << 20


def same_source(source: str, manifest: Manifest) -> bool:
    """Whether an artifact was made from the files that a model folder holds now."""
    from .build import source_files

    try:
        return {entry.name: entry.sha256 for entry in source_files(Pipeline(source))} == {
            entry.name: entry.sha256 for entry in manifest.source
        }
    except ModelError:
        return False


def _name(manifest: Manifest) -> str:
    import hashlib

    source = "\n".join(f"{entry.name} {entry.sha256}" for entry in manifest.source)
    digest = hashlib.sha256(f"{source}\n{manifest.model}".encode("utf-8", "surrogatepass")).hexdigest()
    model = "".join(c if c in _SAFE else "-" for c in os.path.basename(manifest.model.rstrip("/\\")))[:80].lstrip(".")
    return f"{model or 'model'}--{manifest.precision}--{digest[:12]}"


def _touch(folder: str) -> None:
    try:
        with open(f"{folder}.used", "ab"):
            os.utime(f"{folder}.used")
    except OSError:
        pass  # a cache that cannot be written is used all the same


def _cannot_write(path: str, error: OSError) -> CacheError:
    return CacheError(
        f"Cannot write {path}: {error.strerror or error}. Make room, make it writable, or set EMBEDDING_LOADER_CACHE "
        "to another folder."
    )
