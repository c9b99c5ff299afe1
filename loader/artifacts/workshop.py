"""Making artifacts one at a time, publishing them in one step, and evicting those over the size limit.

One lock for the whole store, so that an artifact that several processes want is made once. The lock does not show which
processes have died: on a shared disk other machines may not see it. ``loader.runtime.scratch`` identifies the owner of
an unfinished folder.
"""

import os
import shutil

from ..errors import CacheError, ModelError, ModelUnreadableError
from ..exit_gate import GATE
from ..runtime.log import log
from ..runtime.paths import make_folder
from ..runtime.scratch import Scratch, belongs_to_user, new_name, sweep
from .manifest import Manifest, read_manifest
from .store import Artifact, all_artifacts, note_use, root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LIMIT_VARIABLE: "Final" = "EMBEDDING_LOADER_CACHE_LIMIT_MB"
DEFAULT_LIMIT_MB: "Final" = 4096
"""The total size limit of all artifacts in MiB."""
_SAFE: "Final" = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._")


class Workshop:
    """Makes one artifact: holds the store's lock, and provides a folder that is deleted unless published."""

    def __init__(self) -> None:
        import filelock

        self._root = root()  # once, because the environment may change meanwhile
        self._scratch: Scratch | None = None
        limit_bytes()  # reject an invalid value before the work, not after it
        try:
            make_folder(self._root)
            self._lock = filelock.FileLock(os.path.join(self._root, ".lock"), mode=0o600)
            while not self._lock.is_locked:
                GATE.checkpoint()  # the interpreter may begin to exit while another process compiles
                try:
                    self._lock.acquire(timeout=0.5)
                except filelock.Timeout:
                    continue
            sweep(self._root)
        except OSError as error:
            raise _cannot_write(self._root, error) from error

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._scratch is not None:
                self._scratch.remove()
            # Also what the child of a killed process may have written since the first sweep.
            sweep(self._root)
        except OSError as error:
            log("info", "%s cannot be cleaned up: %s", self._root, error)
        finally:
            self._lock.release()

    def folder(self) -> str:
        """Return a new, empty folder.

        Raises:
            CacheError: it cannot be made.
        """
        try:
            self._scratch = Scratch(self._root)
        except OSError as error:
            raise _cannot_write(self._root, error) from error
        return self._scratch.path

    def publish(self, name: str | None = None) -> Artifact:
        """Give the finished folder its name, in one step; an artifact of that name is replaced.

        Args:
            name: its name; by default that of a prepared model, by what its manifest says.

        Raises:
            CacheError: it cannot be renamed; the previous artifact is intact.
            ArtifactError: the new artifact cannot be read.
        """
        assert self._scratch is not None  # noqa: S101 - the order of calls
        manifest = read_manifest(self._scratch.path)
        final = os.path.join(self._root, name or _name(manifest))
        replaced = new_name(self._root) if os.path.lexists(final) else None
        if replaced is not None and not belongs_to_user(final):
            raise CacheError(f"{final} belongs to another user. Set EMBEDDING_LOADER_CACHE to your own folder.")
        try:
            if replaced is not None:
                os.rename(final, replaced)
            try:
                self._scratch.publish(final)
            except OSError:
                if replaced is not None:
                    os.rename(replaced, final)
                raise
        except OSError as error:
            raise _cannot_write(final, error) from error
        if replaced is not None:
            _remove(replaced)
        note_use(final)
        artifact = Artifact(final, manifest)
        evict(keep=final)
        return artifact


def evict(*, keep: str = "") -> list[str]:
    """Remove artifacts until the rest fit the limit, damaged ones first, then the least recently used.

    Args:
        keep: an artifact that stays in any case.

    Returns:
        The removed folders. A folder that cannot be removed is logged and stays.
    """
    # An artifact that cannot be read now does not count as damaged.
    there = [(folder, found) for folder, found in all_artifacts() if not isinstance(found, ModelUnreadableError)]
    sizes = {folder: _size(folder, found) for folder, found in there}
    total, limit, removed = sum(size for _, size in sizes.values()), limit_bytes(), []
    for folder, (_, size) in sorted(sizes.items(), key=lambda item: item[1]):
        if total <= limit:
            break
        if folder == keep or not belongs_to_user(folder):
            continue
        try:
            remove_artifact(folder)
        except CacheError as error:
            log("warning", "%s", error)
            continue
        removed.append(folder)
        total -= size
        log("info", "Removed %s: artifacts took more than %d MiB", folder, limit >> 20)
    return removed


def _size(folder: str, found: "Artifact | ModelError") -> tuple[float, int]:
    """Return when an artifact was last used, -1 for a damaged one, and its size."""
    if isinstance(found, Artifact):
        return found.last_used, found.bytes
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return -1.0, sum(os.lstat(path).st_size for path in paths if os.path.lexists(path))


def remove_artifact(folder: str) -> None:
    """Remove an artifact of the store. Processes that have it open keep what they mapped.

    Raises:
        CacheError: it cannot be removed.
    """
    doomed = new_name(os.path.dirname(folder))
    try:
        os.rename(folder, doomed)  # in one step, so that nobody finds half of it
    except FileNotFoundError:
        pass  # another process removed it
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        os.unlink(f"{folder}.used")
    except OSError:
        pass
    _remove(doomed)


def _remove(doomed: str) -> None:
    """Remove a folder that was renamed to a scratch name; the next compile removes what is left of it."""
    if os.path.islink(doomed) or not os.path.isdir(doomed):
        os.unlink(doomed)  # something else took an artifact's place
    else:
        shutil.rmtree(doomed, ignore_errors=True)


def limit_bytes() -> int:
    """Return the total size limit of all artifacts in bytes: EMBEDDING_LOADER_CACHE_LIMIT_MB, or 4 GiB."""
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
        f"Cannot write {path}: {error.strerror or error}. Free disk space, make it writable, or set "
        "EMBEDDING_LOADER_CACHE to another folder."
    )
