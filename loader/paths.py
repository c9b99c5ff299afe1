"""Where this library keeps its own files, and how it writes them."""

import os
import sys

from .errors import CacheError

CACHE_VARIABLE = "EMBEDDING_LOADER_CACHE"
"""Environment variable that moves the cache folder."""


_APPLICATION = "optimized-embedding-loader"


def cache_folder() -> str:
    """Return the cache folder (not created): ``$EMBEDDING_LOADER_CACHE``, else the platform's user cache folder."""
    configured = os.environ.get(CACHE_VARIABLE)
    if configured:
        return os.path.abspath(os.path.expanduser(configured))
    if sys.platform.startswith("linux"):
        # What platformdirs returns here, without the 30 ms that importing it takes; a test compares the two.
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.expanduser("~/.cache")
        return os.path.join(base, _APPLICATION)
    import platformdirs

    return platformdirs.user_cache_dir(_APPLICATION, appauthor=False)


def write_atomically(path: str, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step, creating its folder: readers see the old file or the new one.

    Not flushed to the disk: after a power cut the file may be damaged, and every reader takes that as a miss.

    Raises:
        CacheError: the folder or the file cannot be written. Nothing is left behind and the old file is intact.
    """
    folder = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise CacheError(
            f"Cannot write {path}: {error.strerror or error}. Make {folder} writable, or set {CACHE_VARIABLE} to a "
            "folder that is. Models load without it, but what was learned about them is forgotten."
        ) from error
