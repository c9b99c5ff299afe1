"""The folder of a run: which files are in it, how they are read, and that no run is written over another.

A file of records may be compressed once the run is complete: then it has the same name with ``.xz`` behind it, and
everything reads it as if it were not. Only a run that is to be resumed must be unpacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from pathlib import Path

RECORDS_FILE = "records.jsonl"
MANIFEST_FILE = "manifest.json"
COMPRESSED = ".xz"


def new_folder(folder: Path, records: str = "*.jsonl") -> Path:
    """Create the folder of a run and return it.

    Args:
        folder: the run's folder.
        records: pattern of files that must not exist there yet, compressed or not.

    Raises:
        ConfigError: it already has records of any kind.
    """
    if any(folder.glob(records)) or any(folder.glob(records + COMPRESSED)):
        raise ConfigError(
            f"{folder} already holds a run. Choose another folder (run_name=), delete this one, or continue it with "
            f"resume={folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compressed(path: Path) -> Path:
    """Return the name of a file of records when it is compressed."""
    return path.with_name(path.name + COMPRESSED)


def stored(path: Path) -> Path:
    """Return where a file of records is: ``path`` itself, or compressed if only that is there."""
    return compressed(path) if not path.exists() and compressed(path).exists() else path


def has_records(folder: Path, name: str = RECORDS_FILE) -> bool:
    """Whether a folder has this file of records, compressed or not."""
    return stored(folder / name).is_file()


def read_text(path: Path) -> str:
    """Return the text of a file of records, compressed or not.

    Raises:
        RecordError: it is missing, or damaged.
    """
    place = stored(path)
    try:
        return _decompressed(place) if place.suffix == COMPRESSED else place.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{place} cannot be read: {error.strerror}. Is it the folder of a run?") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{place} is not a text file, or is damaged: {error}. Leave the run out.") from error


def _decompressed(path: Path) -> str:
    try:
        import lzma  # late: a Python may have been built without it
    except ImportError as error:
        raise RecordError(
            f"{path} is compressed, and this Python lacks lzma. Unpack it: xz --decompress {path}"
        ) from error
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (lzma.LZMAError, EOFError) as error:
        raise RecordError(f"{path} is damaged: {error}. Leave the run out.") from error
