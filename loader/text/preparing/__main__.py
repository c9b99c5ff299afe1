"""``python -m loader.text.preparing MODEL_FOLDER NAME``: prepare a model's tokenizer, and keep it."""

import os
import struct
import sys
import time

from ...artifacts import FILE
from ...artifacts.manifest import FileEntry, Manifest
from ...artifacts.workshop import Workshop
from ...errors import CacheError, LoaderError, ModelError
from ...model.config_files import read_facts, transformer_folder
from ...model.file_hash import remembered_sha256, sha256_of
from ...runtime.paths import private
from ...version import __version__
from .. import LIBRARY_VARIABLE, kept
from ..prepared import Prepared
from ..tokenizer import TextTokenizer
from ..tokenizer_settings import replaced_parts
from ..wordpiece import NotUnderstood
from .comparing import compare_with_library
from .tables import Tables, library_stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

LONGEST_S: "Final" = 120
"""Seconds of processor time after which the system ends this process."""


def make(path: str, *, is_static: bool = False, replaced: "dict[str, Any] | None" = None) -> bytes:
    """Return the tables of a tokenizer.json, checked. Arguments are those of ``Tables``.

    Raises:
        NotUnderstood: it cannot be prepared; the message says what is in the way.
    """
    try:
        tables = Tables(path, is_static=is_static, replaced=replaced)
        content = tables.to_bytes()
        compare_with_library(Prepared(content), tables.library, tables.file)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, struct.error, RecursionError) as error:
        raise NotUnderstood(f"an unexpected value ({type(error).__name__}: {error})") from error
    return content


def prepare_tokenizer(folder: str, name: str) -> str | None:
    """Prepare the tokenizer of a model's folder and keep it, unless it is there. Return why it could not be prepared.

    Args:
        folder: the model's folder.
        name: the model's name, to be shown.

    Raises:
        CacheError: it cannot be written.
        ModelError: the model's files are damaged.
    """
    is_static, transformer = read_facts(folder).is_static, transformer_folder(folder)
    with Workshop() as workshop:
        found = kept.find_prepared(transformer, is_static=is_static)
        if found is None:
            source = tuple(
                FileEntry(one, os.stat(path).st_size, remembered_sha256(path))
                for one in kept.source_names(transformer)
                for path in [os.path.join(transformer, one)]
            )
            label = kept.name_of([entry.sha256 for entry in source], is_static=is_static)
            # Should this process be killed, the next ones need not try the same.
            _publish(workshop, label, name, source, kept.REASON, kept.UNFINISHED.encode(), 0.0)
            begun = time.monotonic()
            try:
                content, file = _made(folder, transformer, is_static), kept.TABLES
            except (NotUnderstood, ModelError) as error:
                content, file = (str(error) or "its settings").encode(), kept.REASON
            _publish(workshop, label, name, source, file, content, time.monotonic() - begun)
            found = kept.find_prepared(transformer, is_static=is_static)
    return found if isinstance(found, str) else None


def _made(folder: str, transformer: str, is_static: bool) -> bytes:
    os.environ[LIBRARY_VARIABLE] = "library"
    try:
        TextTokenizer(folder)  # which checks the files beside tokenizer.json
    finally:
        del os.environ[LIBRARY_VARIABLE]
    replaced = {} if is_static else replaced_parts(transformer, read_facts(folder).model_type)
    return make(os.path.join(transformer, "tokenizer.json"), is_static=is_static, replaced=replaced)


def _publish(
    workshop: Workshop,
    label: str,
    name: str,
    source: tuple[FileEntry, ...],
    file: str,
    content: bytes,
    seconds: float,
) -> None:
    folder = workshop.folder()
    path = os.path.join(folder, file)
    try:
        with open(path, "xb", opener=private) as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        manifest = Manifest(
            name,
            kept.KIND,
            ("tables",) if file == kept.TABLES else ("library",),
            source,
            (FileEntry(file, len(content), sha256_of(path)),),
            {},
            {},
            {"optimized-embedding-loader": __version__, "tokenizers": str(library_stamp()[-1])},
            round(seconds, 3),
        )
        with open(os.path.join(folder, FILE), "xb", opener=private) as target:
            target.write(manifest.to_json())
    except OSError as error:
        raise CacheError(f"Cannot write {path}: {error.strerror or error}.") from error
    artifact = workshop.publish(label)
    for entry in artifact.manifest.files:  # so that the next process need not hash it
        remembered_sha256(os.path.join(artifact.folder, entry.name), anew=True)


def main() -> int:
    """Prepare the tokenizer of a model: ``python -m loader.text.preparing MODEL_FOLDER NAME``."""
    os.umask(0o077)
    try:
        os.nice(10)
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_S, LONGEST_S))
    except (ImportError, OSError, ValueError):
        pass  # not everywhere
    try:
        reason = prepare_tokenizer(sys.argv[1], sys.argv[2])
    except LoaderError as error:
        reason = str(error)
    if reason:
        sys.stderr.write(f"{reason}\n")
    return 1 if reason else 0


if __name__ == "__main__":
    raise SystemExit(main())
