"""SHA-256 of files, computed once for each state of a file.

Hashing a model takes longer than opening it, so the result is remembered for the identity of the file: device, inode,
size and both time stamps. Damage that leaves all of these unchanged is not found until somebody hashes anew.
"""

import os
import time

from .errors import CacheError
from .log import log
from .paths import cache_folder, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_WINDOW_BYTES: "Final" = 32 * 2**20
"""Hashed in one go. After each the thread asks for the interpreter again, which takes milliseconds where another one is
busy importing; and no more than this of a file is in this process's memory at a time."""
TICK_S: "Final" = 0.02
"""A file that was written twice within so many seconds may have one time stamp for both: kernels stamp files with the
time of their last tick."""


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib
    import mmap

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for start in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - start)
            try:
                with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as window:
                    digest.update(window)
            except ValueError as error:
                raise OSError(f"{path} became shorter while it was read") from error
    return digest.hexdigest()


def recall_sha256(path: str) -> str | None:
    """Return the SHA-256 that an earlier process computed of this very state of a file, or None.

    Raises:
        OSError: the file cannot be looked at.
    """
    memo, identity = _memo(path)
    try:
        with open(memo, encoding="ascii") as file:
            text = file.read(256)
    except (OSError, ValueError):
        return None
    digest = text.removeprefix(identity)
    return digest if digest != text and len(digest) == 64 else None


def remembered_sha256(path: str, *, anew: bool = False, compute: "Callable[[str], str] | None" = None) -> str:
    """Return the SHA-256 of a file, what is remembered of it where that may be.

    Args:
        path: the file.
        anew: whether to hash it in any case.
        compute: what hashes it, ``sha256_of`` by default.

    Raises:
        OSError: it cannot be read.
    """
    recalled = None if anew else recall_sha256(path)
    if recalled is not None:
        return recalled
    memo, identity = _memo(path)  # before hashing: a file that changes meanwhile is not remembered as what it became
    stat = os.stat(path)
    # What is written from now on shall have other time stamps than what is hashed.
    time.sleep(min(max(TICK_S - (time.time() - max(stat.st_mtime, stat.st_ctime)), 0.0), TICK_S))
    digest = (compute or sha256_of)(path)
    try:
        write_atomically(memo, (identity + digest).encode())
    except CacheError as error:
        log("info", "The next process hashes %s again: %s", path, error)
    return digest


def _memo(path: str) -> tuple[str, str]:
    """Return the file that remembers, and what it begins with if it is about this state of the file."""
    stat = os.stat(path)
    memo = os.path.join(cache_folder(), "hashes", f"{stat.st_dev:x}-{stat.st_ino:x}")
    return memo, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} "
