"""The folder of the sockets: where it is, and whether nobody else can have a hand in it."""

import os
import stat
import sys

from ..errors import ServiceUnavailableError, ServiceUnsafeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RUNTIME_VARIABLE: "Final" = "EMBEDDING_LOADER_RUNTIME"
"""Environment variable that moves the folder."""

_APPLICATION = "optimized-embedding-loader"
MAX_PATH_BYTES: "Final" = 100
"""Linux allows 107 bytes for the path of a socket, macOS 103."""


def runtime_folder() -> str:
    """Return the folder (neither created nor checked).

    It is ``$EMBEDDING_LOADER_RUNTIME``, else a folder in ``$XDG_RUNTIME_DIR``, else one of this user in ``/tmp``.
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
    """Return the folder, having checked that it is this user's alone.

    Args:
        create: make it where it is missing.

    Raises:
        ServiceUnavailableError: there is none, it cannot be made, or this platform has no such sockets.
        ServiceUnsafeError: it is a symbolic link or no folder, belongs to another user, or is open to others.
    """
    if sys.platform == "win32":
        raise ServiceUnavailableError("The model service needs Unix domain sockets, which Python lacks on Windows.")
    folder = runtime_folder()
    try:
        if create:
            _make(folder)
        found = os.lstat(folder)
    except FileNotFoundError:
        raise ServiceUnavailableError(f"No model service runs: there is no folder {folder}.") from None
    except OSError as error:
        raise ServiceUnavailableError(
            f"The folder of the service's sockets, {folder}, cannot be used: {error.strerror}. "
            f"Set {RUNTIME_VARIABLE} to another one."
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
            f"set {RUNTIME_VARIABLE} to a folder of your own with mode 700."
        )
    return folder


def socket_path(folder: str, name: str) -> str:
    """Return the path of a socket.

    Raises:
        ServiceUnavailableError: it is longer than a socket's path may be.
    """
    path = os.path.join(folder, f"{name}.sock")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ServiceUnavailableError(
            f"The path {path} is longer than the {MAX_PATH_BYTES} bytes that a socket's may have. Set "
            f"{RUNTIME_VARIABLE} to a shorter folder."
        )
    return path


def _make(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        os.makedirs(os.path.dirname(folder), 0o700, exist_ok=True)
        os.mkdir(folder, 0o700)
