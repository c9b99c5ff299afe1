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

TICK_S: "Final" = 0.02
"""A file that was written twice within so many seconds may have one time stamp for both: kernels stamp files with the
time of their last tick."""


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: str, *, anew: bool = False, compute: "Callable[[str], str] | None" = None) -> str:
    """Return the SHA-256 of a file, from what an earlier process remembered where the file is the same.

    Args:
        path: the file.
        anew: whether to hash it in any case.
        compute: what hashes it, ``sha256_of`` by default.

    Raises:
        OSError: it cannot be read.
    """
    stat = os.stat(path)
    memo = os.path.join(cache_folder(), "hashes", f"{stat.st_dev:x}-{stat.st_ino:x}")
    identity = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} "
    if not anew:
        try:
            with open(memo, encoding="ascii") as file:
                text = file.read(256)
        except (OSError, ValueError):
            text = ""
        digest = text.removeprefix(identity)
        if digest != text and len(digest) == 64:
            return digest
    # What is written from now on shall have other time stamps than what is hashed.
    time.sleep(min(max(TICK_S - (time.time() - max(stat.st_mtime, stat.st_ctime)), 0.0), TICK_S))
    digest = (compute or sha256_of)(path)
    try:
        write_atomically(memo, (identity + digest).encode())
    except CacheError as error:
        log("info", "The next process hashes %s again: %s", path, error)
    return digest
