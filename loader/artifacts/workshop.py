"""Making artifacts one at a time, publishing them in one step, removing those that take too much.

One lock for the whole store: while it is held, every ``.new-`` folder of somebody else is a leftover.
"""

import os
import shutil

from ..errors import ArtifactError, CacheError
from ..exitgate import GATE
from ..log import log
from .manifest import Manifest, read_manifest
from .store import Artifact, everything, note_use, root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LIMIT_VARIABLE: "Final" = "EMBEDDING_LOADER_CACHE_LIMIT_MB"
DEFAULT_LIMIT_MB: "Final" = 4096
"""MiB that all artifacts together may take."""
_NEW: "Final" = ".new-"
_SAFE: "Final" = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._")


class Workshop:
    """Where one artifact is made: holds the store's lock, and gives a folder that is thrown away unless published."""

    def __init__(self) -> None:
        import filelock

        self._root = root()  # once: the settings of the process may change meanwhile
        self._folder: str | None = None
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
        note_use(final)
        artifact = Artifact(final, manifest)
        evict(keep=final)
        return artifact


def _sweep(folder: str) -> None:
    """Remove what was being made; only for whoever holds the lock."""
    for name in os.listdir(folder):
        if name.startswith(_NEW):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


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
    doomed = os.path.join(os.path.dirname(folder), _NEW + os.urandom(6).hex())
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


def _name(manifest: Manifest) -> str:
    import hashlib

    source = "\n".join(f"{entry.name} {entry.sha256}" for entry in manifest.source)
    digest = hashlib.sha256(f"{source}\n{manifest.model}".encode("utf-8", "surrogatepass")).hexdigest()
    model = "".join(c if c in _SAFE else "-" for c in os.path.basename(manifest.model.rstrip("/\\")))[:80].lstrip(".")
    return f"{model or 'model'}--{manifest.precision}--{digest[:12]}"


def _cannot_write(path: str, error: OSError) -> CacheError:
    return CacheError(
        f"Cannot write {path}: {error.strerror or error}. Make room, make it writable, or set EMBEDDING_LOADER_CACHE "
        "to another folder."
    )
