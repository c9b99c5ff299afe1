"""Which files running processes map at the moment: their pages cannot be evicted."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ ([0-9a-f]{1,8}):([0-9a-f]{1,8}) ([1-9]\d{0,19}) +(/.*)$", re.MULTILINE
)
"""address, permissions, offset, device (two numbers), inode, path; lines without an inode map no file."""


@dataclass(frozen=True)
class MappedFiles:
    """Files by path and by device and inode: a container may see a file under another path.

    Attributes:
        paths: as the processes see them.
        identities: device and inode.
    """

    paths: frozenset[str] = frozenset()
    identities: frozenset[tuple[int, int]] = frozenset()

    def __contains__(self, path: Path) -> bool:
        """Return whether a file is mapped; a missing file is not."""
        try:
            status = path.stat()
        except OSError:
            return False
        return str(path) in self.paths or (status.st_dev, status.st_ino) in self.identities


def mapped_files(processes: str = "[0-9]*") -> MappedFiles:
    """Return the files mapped by processes whose ``/proc`` folders match the pattern: by default all readable ones."""
    paths: set[str] = set()
    identities: set[tuple[int, int]] = set()
    for file in Path("/proc").glob(f"{processes}/maps"):
        try:
            found = parse_maps(file.read_bytes())
        except OSError:  # another user's, or gone by now
            continue
        paths |= found.paths
        identities |= found.identities
    return MappedFiles(frozenset(paths), frozenset(identities))


def parse_maps(text: bytes) -> MappedFiles:
    """Return the files in one ``/proc/PID/maps``; lines without a file are skipped."""
    lines = _LINE.findall(text)
    # The kernel writes a line break in a name as \012.
    paths = frozenset(os.fsdecode(path.replace(b"\\012", b"\n")) for *_, path in lines)
    return MappedFiles(
        paths, frozenset((os.makedev(int(major, 16), int(minor, 16)), int(inode)) for major, minor, inode, _ in lines)
    )
