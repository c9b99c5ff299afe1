"""The folder of the sockets: where it is, and the check that no other user can change it."""

import os
import stat
import sys

from ..errors import ServiceUnavailableError, ServiceUnsafeError
from ..runtime.paths import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RUNTIME_VARIABLE: "Final" = "EMBEDDING_LOADER_RUNTIME"
"""Environment variable that moves the folder."""

_APPLICATION = "optimized-embedding-loader"
MAX_PATH_BYTES: "Final" = 100
"""Linux allows 107 bytes for the path of a socket, macOS 103."""


def runtime_folder() -> str:
    """Return the folder, without creating or checking it.

    It is ``$EMBEDDING_LOADER_RUNTIME``, else a folder in ``$XDG_RUNTIME_DIR``, else this user's folder in ``/tmp``.
    """
    configured = os.environ.get(RUNTIME_VARIABLE)
    if configured:
        return os.path.abspath(os.path.expanduser(configured))
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        return os.path.join(base, _APPLICATION)
    # Not $TMPDIR: programs with different ones should find the same service.
    return f"/tmp/{_APPLICATION}-{os.geteuid()}"  # noqa: S108 - created 0700, and checked before every use


def safe_folder(*, create: bool) -> str:
    """Return the folder after checking that only this user can access it.

    Args:
        create: create it if it is missing.

    Raises:
        ServiceUnavailableError: it does not exist, cannot be created, or this platform has no Unix sockets.
        ServiceUnsafeError: it is a symbolic link or not a folder, belongs to another user, or is open to others.
    """
    if sys.platform == "win32":
        raise ServiceUnavailableError("The model service needs Unix sockets, which Python does not support on Windows.")
    folder = runtime_folder()
    try:
        if create:
            _make(folder)
        found = os.lstat(folder)
    except FileNotFoundError:
        raise ServiceUnavailableError(f"No model service is running: the folder {folder} does not exist.") from None
    except OSError as error:
        raise ServiceUnavailableError(
            f"The folder of the service's sockets, {folder}, cannot be used: {error.strerror}. "
            f"Set {RUNTIME_VARIABLE} to another folder."
        ) from None
    problem = ""
    if not stat.S_ISDIR(found.st_mode):
        problem = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is not a folder"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid}, not to {os.geteuid()}"
    elif found.st_mode & 0o077:
        problem = f"is open to other users (mode {found.st_mode & 0o777:o})"
    if problem:
        raise ServiceUnsafeError(
            f"The folder of the service's sockets, {folder}, {problem}. No service is used or started. Delete it, or "
            f"set {RUNTIME_VARIABLE} to your own folder with mode 700."
        )
    return folder


def socket_path(folder: str, name: str) -> str:
    """Return the path of a socket.

    Raises:
        ServiceUnavailableError: it is too long for a socket.
    """
    path = os.path.join(folder, f"{name}.sock")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ServiceUnavailableError(
            f"The path {path} is longer than the {MAX_PATH_BYTES} bytes allowed for a socket. Set "
            f"{RUNTIME_VARIABLE} to a folder with a shorter path."
        )
    return path


def is_of_service(name: str, ending: str) -> bool:
    """Whether a file in the folder has a service's name: a model and 16 digits, see ``identity``.

    Anything else is not ours: the folder may contain other things.
    """
    stem = name.removesuffix(ending)
    shown, _, digits = stem.rpartition("-")
    return stem != name and bool(shown) and len(digits) == 16 and set(digits) <= set("0123456789abcdef")


def _make(folder: str) -> None:
    if not os.path.lexists(folder):
        make_folder(folder)
