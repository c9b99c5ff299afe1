"""The artifacts of this user: where they are, and how a model finds its own. Making them is ``workshop``'s business.

Layout, below the cache folder::

    artifacts/<model>--<precision>--<12 digits of the source's hash>/   an artifact
    artifacts/<the same>.used                                            its time stamp is the last use
    artifacts/.new-<random>/                                             one being made, or left by a killed compile
    artifacts/.lock                                                      held while one is made
"""

import os

from ..errors import ArtifactError
from ..log import log
from ..paths import cache_folder
from ..pipeline import Pipeline
from .manifest import Manifest, is_artifact, read_manifest, verify
from .sources import source_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


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
            known = {entry.name: (entry.bytes, entry.sha256) for entry in source_files(Pipeline(source))}
        if known != {entry.name: (entry.bytes, entry.sha256) for entry in manifest.source}:
            continue
        try:
            verify(artifact.folder, manifest)
        except ArtifactError as error:
            log("warning", "%s", error)
            continue
        note_use(artifact.folder)
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


def note_use(folder: str) -> None:
    """Remember that an artifact was used now."""
    try:
        with open(f"{folder}.used", "ab"):
            os.utime(f"{folder}.used")
    except OSError:
        pass  # a cache that cannot be written is used all the same
