"""Whether a memray capture file is complete.

memray reads a truncated file up to its end, and reports the little it found without an error. When the process ends
normally, memray compresses the capture as one LZ4 frame whose last block is empty: a frame without that end, or a file
that is not compressed, comes from a process that was killed, or was truncated later.
Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from typing import BinaryIO

_MAGIC = b"\x04\x22\x4d\x18"
_BLOCK_CHECKSUM, _CONTENT_SIZE, _DICTIONARY = 0x10, 0x08, 0x01  # bits of the frame's flags
_SIZE_OF_BLOCK = 0x7FFFFFFF  # the highest bit says whether the block is compressed


def check_finished(capture: Path) -> None:
    """Check that a capture file has its end.

    Raises:
        BenchError: it cannot be read, or is truncated.
    """
    try:
        with capture.open("rb") as file:
            if _has_end(file):
                return
    except OSError as error:
        raise BenchError(f"{capture.name} cannot be read: {error.strerror}. Was the process traced?") from error
    raise BenchError(
        f"{capture.name} is not a complete memray capture: the process did not end normally, or the file was truncated."
    )


def _has_end(file: BinaryIO) -> bool:
    """Walk over the blocks, each of which begins with its size, to the empty one that ends the frame."""
    head = file.read(6)
    if len(head) < 6 or head[:4] != _MAGIC:
        return False
    flags = head[4]
    optional = (8 if flags & _CONTENT_SIZE else 0) + (4 if flags & _DICTIONARY else 0)
    file.seek(optional + 1, os.SEEK_CUR)  # and the checksum of the header
    checksum = 4 if flags & _BLOCK_CHECKSUM else 0
    while len(field := file.read(4)) == 4:
        size = int.from_bytes(field, "little")
        if size == 0:
            return True
        file.seek((size & _SIZE_OF_BLOCK) + checksum, os.SEEK_CUR)
    return False
