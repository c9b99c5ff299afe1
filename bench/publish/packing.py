"""Compressing the records of runs that are committed: they are long, alike, and never change again."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

from bench.data.folder import compressed
from bench.data.merging import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def unpacked(records: Iterable[Path]) -> list[Path]:
    """Return the files of records that are there as plain text."""
    return [path for path in records if path.exists()]


def pack(path: Path) -> Path:
    """Compress a file of records, remove the plain one, and return the path of the compressed one.

    A compressed file with the same content stays as it is: another version of the library may make other bytes of it.
    """
    content, packed = path.read_bytes(), compressed(path)
    if not (packed.exists() and lzma.decompress(packed.read_bytes()) == content):
        with replacing(packed) as partial:
            partial.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    path.unlink()
    return packed
