"""SHA-256 of files, computed once for each state of a file.

Hashing a model takes longer than opening it, so the result is stored under the file's identity: device, inode, size and
both time stamps. Damage that leaves all of these unchanged is not found until the file is hashed again.
"""

import os
import time

from ..errors import CacheError
from ..runtime.log import log
from ..runtime.paths import at_once, cache_folder, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_WINDOW_BYTES: "Final" = 16 * 2**20
"""Hashed in one go, and the most of a file that is in memory at a time. After each window the thread asks for the
interpreter again, which takes milliseconds while another thread is importing."""
TICK_S: "Final" = 0.02
"""Two writes to a file within this many seconds may get the same time stamp: kernels use the time of their last
tick."""


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib

    digest = hashlib.sha256()
    # Read, not mapped: touching mapped pages of a file that was truncated kills the process.
    with open(path, "rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        window = memoryview(bytearray(min(_WINDOW_BYTES, left)))
        while left:
            count = file.readinto(window[: min(_WINDOW_BYTES, left)])
            if not count:
                raise OSError(f"{path} became shorter while it was read")
            digest.update(window[:count])
            left -= count
    return digest.hexdigest()


def recall_sha256(path: str) -> str | None:
    """Return the SHA-256 that an earlier process computed for this exact state of a file, or None.

    Raises:
        OSError: the file's identity cannot be read.
    """
    memo, identity = _memo(path)
    try:
        with open(memo, "rb", opener=at_once) as file:
            text = file.read(256).decode()
    except (OSError, ValueError, TypeError):
        return None
    digest = text.removeprefix(identity)
    return digest if digest != text and len(digest) == 64 else None


def remembered_sha256(path: str, *, anew: bool = False, compute: "Callable[[str], str] | None" = None) -> str:
    """Return the SHA-256 of a file, from an earlier result if possible.

    Args:
        path: the file.
        anew: whether to hash it in any case.
        compute: the function that hashes it; ``sha256_of`` by default.

    Raises:
        OSError: it cannot be read.
    """
    recalled = None if anew else recall_sha256(path)
    if recalled is not None:
        return recalled
    memo, identity = _memo(path)  # before hashing, so that a change in the meantime invalidates the result
    stat = os.stat(path)
    # Later writes must get other time stamps than what is hashed.
    time.sleep(min(max(TICK_S - (time.time() - max(stat.st_mtime, stat.st_ctime)), 0.0), TICK_S))
    digest = (compute or sha256_of)(path)
    try:
        write_atomically(memo, (identity + digest).encode())
    except CacheError as error:
        log("info", "The next process will hash %s again: %s", path, error)
    return digest


def _memo(path: str) -> tuple[str, str]:
    """Return the file that stores the hash, and the prefix it has if it describes this state of the file."""
    stat = os.stat(path)
    memo = os.path.join(cache_folder(), "hashes", f"{stat.st_dev:x}-{stat.st_ino:x}")
    return memo, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} "
