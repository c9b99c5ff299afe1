"""Evicting files from the kernel's page cache, and counting how much of them is in memory.

Linux only. ``fsync`` comes first because a page that has not been written yet cannot be evicted; then
``posix_fadvise(POSIX_FADV_DONTNEED)`` drops the pages, and mincore(2) counts what stayed: pages that a running
process maps, and everything on a tmpfs. The kernel answers mincore only for files that the caller owns or may write to
(for any other it reports every page as resident), so other files are ``unsupported``.

Only this kernel's page cache is covered: the host of a virtual machine, the disk itself and file systems with their own
cache (ZFS) may still hold the data.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_RESIDENT_SHARE = 0.01
"""Largest share of the bytes that may be in memory after an eviction: enough for the few pages that an indexer or
reading a header brings back, and at most a hundredth of what a load has to read."""

_NOT_LINUX = "files can only be evicted from memory on Linux: measure cold caches there"
_PAGE_BYTES = mmap.PAGESIZE
_LOWEST_BIT = bytes(value & 1 for value in range(256))
"""mincore leaves the other seven bits of each page's byte undefined."""


@dataclass(frozen=True)
class Eviction:
    """The result of evicting some files.

    Attributes:
        files: the number of distinct files; a link and its target are one.
        missing: the number of paths that do not exist.
        bytes_total: size of the files.
        bytes_resident_before: how much of them was in memory.
        bytes_resident_after: how much still is.
        unsupported: "", or why this is not possible for this system or one of the files, and what to do about it.
    """

    files: int = 0
    missing: int = 0
    bytes_total: int = 0
    bytes_resident_before: int = 0
    bytes_resident_after: int = 0
    unsupported: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether there are files, and at most ``MAX_RESIDENT_SHARE`` of their bytes is still in memory."""
        if self.unsupported or not self.files:
            return False
        return self.bytes_resident_after <= MAX_RESIDENT_SHARE * self.bytes_total


def evict(paths: Iterable[Path]) -> Eviction:
    """Evict files from memory and count what stayed. Nothing is evicted if one of them is refused."""
    if not sys.platform.startswith("linux"):
        return Eviction(unsupported=_NOT_LINUX)
    targets = _targets(paths)
    files, missing = targets.files, targets.missing
    if targets.refusals:
        others = f" ({len(targets.refusals) - 1} other files cannot be either)" if len(targets.refusals) > 1 else ""
        return Eviction(len(files), missing, unsupported=f"{targets.refusals[0]}{others}")
    try:
        before = sum(map(_resident_bytes, files))
        for path in files:
            _drop(path)
        # Counted once all are dropped, so that pages read ahead for another file are not missed.
        after = sum(map(_resident_bytes, files))
        total = sum(os.path.getsize(path) for path in files)  # noqa: PTH202 - a plain string
    except OSError as error:
        return Eviction(len(files), missing, unsupported=f"cannot evict: {error}. Is a program changing these files?")
    return Eviction(len(files), missing, total, before, after)


def resident_bytes(path: Path) -> int:
    """Return the number of a file's bytes that are in memory.

    Raises:
        BenchError: the system, or the file's owner or kind, keeps this hidden.
        OSError: the file is missing or cannot be read.
    """
    if not sys.platform.startswith("linux"):
        raise BenchError(_NOT_LINUX)
    target = os.path.realpath(path, strict=True)
    refusal = _refusal(target, os.stat(target))  # noqa: PTH116 - a plain string
    if refusal:
        raise BenchError(refusal)
    return _resident_bytes(target)


@dataclass(frozen=True)
class _Targets:
    """The distinct files behind some paths, with links resolved, and why some cannot be used."""

    files: tuple[str, ...]
    missing: int
    refusals: tuple[str, ...]


def _targets(paths: Iterable[Path]) -> _Targets:
    files: dict[str, None] = {}
    refusals: list[str] = []
    missing = 0
    for path in paths:
        try:
            target = os.path.realpath(path, strict=True)
            refusal = _refusal(target, os.stat(target))  # noqa: PTH116 - a plain string
        except (FileNotFoundError, NotADirectoryError):
            missing += 1
            continue
        except (OSError, ValueError) as error:  # ValueError: a null byte
            refusal = f"{path} cannot be reached: {error}"
        if refusal:
            refusals.append(refusal)
        else:
            files[target] = None
    return _Targets(tuple(files), missing, tuple(refusals))


def _refusal(path: str, status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return f"{path} is a folder: give the files in it"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file: leave it out"
    if not os.access(path, os.R_OK, effective_ids=True):
        return f"{path} cannot be read: run as a user who may read it"
    is_ours = status.st_uid == os.geteuid() or os.access(path, os.W_OK, effective_ids=True)
    if not is_ours:
        return f"{path} belongs to another user, so the kernel hides how much of it is in memory: run as its owner"
    return ""


def _drop(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _resident_bytes(path: str) -> int:
    """Map the file without touching it, and ask the kernel which pages are resident."""
    libc = _libc()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return 0
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise _os_error(path)
    finally:
        os.close(descriptor)
    pages = -(-size // _PAGE_BYTES)
    answer = (ctypes.c_ubyte * pages)()
    try:
        if libc.mincore(address, size, answer) != 0:
            raise _os_error(path)
    finally:
        libc.munmap(address, size)
    resident = bytes(answer).translate(_LOWEST_BIT)
    beyond_the_end = (pages * _PAGE_BYTES - size) * resident[-1]
    return resident.count(1) * _PAGE_BYTES - beyond_the_end


def _os_error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    size, integer, pointer = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, integer, integer, integer, ctypes.c_long]
    libc.mincore.argtypes = [pointer, size, pointer]
    libc.munmap.argtypes = [pointer, size]
    return libc
