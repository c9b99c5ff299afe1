"""This user's artifacts: where they are, and how a model finds its own. ``workshop`` makes them.

Layout, under the cache folder::

    artifacts/<model>--<precision>--<12 digits of the source's hash>/   an artifact
    artifacts/tokenizer--tokenizer--<12 digits>/                         a tokenizer, see ``loader.text.kept``
    artifacts/<the same>.used                                            its time stamp is the last use
    artifacts/.scratch-<...>/                                            one being made, see ``loader.runtime.scratch``
    artifacts/.lock                                                      held while one is made

Anything else there is not ours, and is neither listed nor removed.
"""

import os

from ..errors import ArtifactError, ModelError, ModelUnreadableError
from ..model.pipeline import Pipeline
from ..runtime.log import log
from ..runtime.paths import cache_folder, private
from . import is_artifact
from .manifest import Manifest, read_manifest, verify_artifact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Artifact:
    """An artifact of the store.

    Attributes:
        folder: where it is.
        manifest: its manifest.
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
    """Return the folder of the store, without creating it."""
    return os.path.join(cache_folder(), "artifacts")


def find_artifact(source: str, engine: str, precision: str) -> Artifact | None:
    """Return a verified artifact of a model folder for an engine and a precision, or None.

    The folder may itself be an artifact. Artifacts in the store that are damaged or made from other files are skipped.

    Args:
        source: the model's folder.
        engine: name of the engine.
        precision: ``"float32"`` or ``"int8"``.

    Raises:
        ArtifactError: the folder is itself an artifact, and damaged, untrusted, or made for something else.
        ModelUnreadableError: a file cannot be read now.
        ModelError: the model's own files are damaged.
    """
    if is_artifact(source):
        manifest = read_manifest(source)
        if manifest.precision == precision and engine in manifest.engines:
            verify_artifact(source, manifest)
            return Artifact(source, manifest)
        # A full-precision artifact holds the original weights: others may have been made from it.
        if manifest.precision != "float32" or "numpy" not in manifest.engines or precision == "float32":
            raise ArtifactError(
                f"{source} was prepared as {manifest.precision} for {' and '.join(manifest.engines)}, not as "
                f"{precision} for {engine}. Give the original model's name."
            )
    from .inputs import source_files

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
            verify_artifact(artifact.folder, manifest)
        except ArtifactError as error:
            log("warning", "%s", error)
            continue
        note_use(artifact.folder)
        return artifact
    return None


def _may_be_from(source: str, manifest: Manifest) -> bool:
    """Whether the sizes agree: a cheap check before anything is hashed."""
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
            except (ArtifactError, ModelUnreadableError) as error:
                log("warning", "%s", error)
                continue
            if manifest.precision == precision:
                yield Artifact(os.path.join(root(), name), manifest)


def _is_ours(name: str) -> bool:
    """Whether a folder is called as an artifact is. Importing ``re`` takes as long as opening one."""
    rest, _, digits = name.rpartition("--")
    model, _, precision = rest.rpartition("--")
    return (
        not model.startswith(".")
        and model != ""
        and precision in {"float32", "int8", "tokenizer"}
        and len(digits) == 12
        and frozenset("0123456789abcdef").issuperset(digits)
    )


def all_artifacts() -> "list[tuple[str, Artifact | ModelError]]":
    """Return each folder with its artifact, or its error: ArtifactError if damaged, else ModelUnreadableError."""
    found: list[tuple[str, Artifact | ModelError]] = []
    try:
        names = sorted(os.listdir(root()))
    except OSError:
        return found
    for name in names:
        folder = os.path.join(root(), name)
        if not _is_ours(name) or not is_artifact(folder):
            continue
        try:
            found.append((folder, Artifact(folder, read_manifest(folder))))
        except (ArtifactError, ModelUnreadableError) as error:
            found.append((folder, error))
    return found


def note_use(folder: str) -> None:
    """Record that an artifact is used now."""
    try:
        with open(f"{folder}.used", "ab", opener=private):
            os.utime(f"{folder}.used")
    except OSError:
        pass  # a cache that cannot be written can still be used
