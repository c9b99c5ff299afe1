"""Where this library keeps its files, and how it writes them."""

import os
import stat
import sys

from ..errors import CacheError

CACHE_VARIABLE = "EMBEDDING_LOADER_CACHE"
"""Environment variable that moves the cache folder."""


_APPLICATION = "optimized-embedding-loader"


def cache_folder() -> str:
    """Return the cache folder, without creating it: ``$EMBEDDING_LOADER_CACHE``, else the user's cache folder."""
    configured = os.environ.get(CACHE_VARIABLE)
    if configured:
        return os.path.abspath(os.path.expanduser(configured))
    if sys.platform.startswith("linux"):
        # What platformdirs returns, without the 30 ms that importing it takes; a test compares the two.
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.expanduser("~/.cache")
        return os.path.join(base, _APPLICATION)
    import platformdirs

    return platformdirs.user_cache_dir(_APPLICATION, appauthor=False)


def make_folder(folder: str) -> None:
    """Make a folder and its missing parents, accessible to this user only, whatever the umask.

    ``os.makedirs`` leaves the mode of the parents to the umask: with 000, anybody could put files there.

    Raises:
        OSError: a folder cannot be made, or something else has its name.
    """
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    for path in reversed(missing):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):  # otherwise another process has just made it
                raise
        else:
            set_mode(path, 0o700)


def set_mode(path: str, mode: int) -> None:
    """Restore the mode that something was just created with, if an unusual umask removed bits. Raises OSError."""
    if os.name == "posix" and os.lstat(path).st_mode & 0o777 != mode:
        os.chmod(path, mode)


def other_writers(found: os.stat_result) -> str | None:
    """Return who else may write to a file, besides this user and root, by its mode: words for a message, or None.

    The group of this process does not count: where every user has a group of their own, files are often writable by
    it. Access control lists and the folders above the file are not looked at.
    """
    if os.name != "posix":
        return None
    if found.st_uid not in {os.geteuid(), 0}:
        return f"user {found.st_uid}"
    if found.st_mode & stat.S_IWOTH:
        return "every user"
    if found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid():
        return f"group {found.st_gid}"
    return None


def at_once(path: str, flags: int) -> int:
    """An opener for ``open`` that does not block: a pipe in the file's place reads as empty."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def private(path: str, flags: int) -> int:
    """An opener for ``open`` that creates files accessible to this user only, whatever the umask."""
    return os.open(path, flags, 0o600)


def write_atomically(path: str, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step, creating its folder: readers see the old file or the new one.

    File and folder are accessible to this user only, whatever the umask.

    Not flushed to the disk: after a power cut the file may be damaged, and every reader treats that as a miss.

    Raises:
        CacheError: the folder or the file cannot be written. No temporary file remains, and the old file is intact.
    """
    folder = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        make_folder(folder)
        with open(temporary, "xb", opener=private) as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise CacheError(
            f"Cannot write {path}: {error.strerror or error}. Make {folder} writable, or set {CACHE_VARIABLE} to a "
            "writable folder. Models load without the cache, but nothing is remembered about them."
        ) from error
