"""Starting a service so that there is one of it, however many callers find none at the same time.

Whoever holds the lock of an identity may make its socket; everybody else has one to connect to, or does without. The
lock belongs to an open file, which the caller hands over to the service together with the socket: it is held as long
as one of them lives, and the kernel frees it when the last one is gone, whichever way it went. The socket is made by
the caller already, under another name first, so that it either is not there or takes connections.
"""

import fcntl
import os
import sys
import threading
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - see loader.service.connection

from ..errors import ServiceUnavailableError
from ..log import log
from .folder import safe_folder, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .identity import Identity

BACKLOG: "Final" = 128
_FIRST_FD: "Final" = 3
"""In the service: of the first listener; its lock follows, then the next listener."""
_LOG_FLAGS: "Final" = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
"""Appending: the service before this one may still be finishing, and writes to the same file."""


class Claim:
    """The right to be the service at one socket, and the socket. Ends with ``release`` or with the process.

    Attributes:
        path: of the socket.
        listener: the listening socket.
        lock_fd: the descriptor that holds the lock.
    """

    def __init__(self, path: str, listener: Socket, lock_fd: int) -> None:
        self.path = path
        self.listener = listener
        self.lock_fd = lock_fd
        self._inode = os.stat(path).st_ino

    def close(self) -> None:
        """Let go of it in this process; another one that has it keeps it."""
        self.listener.close()  # unless it was detached
        os.close(self.lock_fd)

    def unlink(self) -> None:
        """Remove the socket, if it still is this one: nobody can connect any more."""
        try:
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except OSError:
            pass

    def release(self) -> None:
        """Remove socket and lock."""
        self.unlink()
        try:
            # While it is still held: whoever opened the old file meanwhile notices, see ``_lock``.
            os.unlink(_lock_path(self.path))
        except OSError:
            pass
        self.close()


def claim(identity: "Identity") -> Claim | None:
    """Return the right to be this service, its socket listening; None if somebody else has it.

    Raises:
        ServiceUnavailableError: the folder, the lock or the socket cannot be made.
        ServiceUnsafeError: the folder is not safe.
    """
    path = socket_path(safe_folder(create=True), identity.name)
    try:
        lock_fd = _lock(_lock_path(path))
    except OSError as error:
        raise ServiceUnavailableError(f"No service can be started: {_lock_path(path)}: {error.strerror}.") from None
    if lock_fd is None:
        return None
    new = f"{path}.{os.getpid()}"
    listener: Socket | None = None
    try:
        listener = Socket(AF_UNIX, SOCK_STREAM)
        if os.path.lexists(new):
            os.unlink(new)
        listener.bind(new)
        listener.listen(BACKLOG)
        # A socket of that name is one that a killed service left behind: we have its lock.
        os.rename(new, path)
        return Claim(path, listener, lock_fd)
    except OSError as error:
        if listener is not None:
            listener.close()
        os.close(lock_fd)
        raise ServiceUnavailableError(f"No service can be started at {path}: {error.strerror}.") from None


def adopt(identity: "Identity", index: int) -> Claim:
    """Return the claim that the process which started this one has handed over.

    Args:
        identity: what it must be for.
        index: which one of them, from 0.

    Raises:
        ServiceUnavailableError: it was not handed over.
    """
    path = socket_path(safe_folder(create=False), identity.name)
    listener_fd, lock_fd = _handed_over(index)
    try:
        listener = Socket(fileno=listener_fd)
        if not str(listener.getsockname()).startswith(f"{path}."):
            raise ServiceUnavailableError(f"The socket that was handed over is not that of {path}.")
        os.fstat(lock_fd)
        os.set_inheritable(listener_fd, False)
        os.set_inheritable(lock_fd, False)
        # Anew: whoever connects from now on is told our process, not that of the caller who made the socket.
        listener.listen(BACKLOG)
        return Claim(path, listener, lock_fd)
    except OSError as error:
        if isinstance(error, ServiceUnavailableError):
            raise
        raise ServiceUnavailableError(f"No socket was handed over: {error.strerror}.") from None


def start(identity: "Identity", arguments: list[str]) -> int | None:
    """See to it that there is such a service. Returns at once, with its process id; None if it is another one's task.

    Args:
        identity: of the service.
        arguments: for ``python -m loader serve``.

    Raises:
        ServiceError: none can be started.
    """
    held = claim(identity)
    if held is None:
        return None
    pid = spawn([held], arguments)
    log("info", "Started a model service for %s, process %d", identity.model, pid)
    return pid


def spawn(claims: list[Claim], arguments: list[str]) -> int:
    """Start the service's process with some claims, and let go of these here; return its process id.

    Raises:
        ServiceUnavailableError: it cannot be started. The claims are released.
    """
    opened: list[int] = []
    try:
        pid = _spawn(claims, arguments, opened)
    except (OSError, NotImplementedError) as error:
        for held in claims:
            held.release()
        raise ServiceUnavailableError(f"No service could be started: {error}.") from None
    finally:
        for fd in opened:
            os.close(fd)
    for held in claims:
        held.close()
    _take_note_of_end(pid)
    return pid


def _spawn(claims: list[Claim], arguments: list[str], opened: list[int]) -> int:
    if not sys.executable:
        raise OSError("nothing is known about the Python interpreter to start it with")

    def above(fd: int) -> int:
        # Above what the child shall have them as, so that none is overwritten before it is copied.
        opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _handed_over(len(claims))[0]))
        return opened[-1]

    opened.append(os.open(os.devnull, os.O_RDWR))
    null = above(opened[0])
    opened.append(os.open(log_path(claims[0].path), _LOG_FLAGS, 0o600))
    copies = [(null, 0), (null, 1), (above(opened[-1]), 2)]
    for index, held in enumerate(claims):
        listener_fd, lock_fd = _handed_over(index)
        copies += [(above(held.listener.fileno()), listener_fd), (above(held.lock_fd), lock_fd)]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "loader", "serve", "--adopt", *arguments],
        {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in copies],
        setsid=True,
    )


def remove_leftover(path: str) -> bool:
    """Remove what a service that is gone left behind; return False, and touch nothing, if one lives there."""
    try:
        lock_fd = _lock(_lock_path(path))
    except OSError:
        return False
    if lock_fd is None:
        return False
    for leftover in (path, _lock_path(path)):  # not the log: it may say why the service is gone
        try:
            os.unlink(leftover)
        except OSError:
            pass
    os.close(lock_fd)
    return True


def log_path(path: str) -> str:
    """Return the file that a service with this socket writes its log to."""
    return f"{path.removesuffix('.sock')}.log"


def _handed_over(index: int) -> tuple[int, int]:
    """Return the descriptors of listener and lock, as the service has them."""
    return _FIRST_FD + 2 * index, _FIRST_FD + 2 * index + 1


def _take_note_of_end(pid: int) -> None:
    """Wait for the service's end in a thread, or it stays in the process table as long as this process runs."""

    def wait() -> None:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass

    try:
        threading.Thread(target=wait, name="embedding-loader:service", daemon=True).start()
    except RuntimeError:
        pass  # the interpreter is exiting


def _lock_path(path: str) -> str:
    return f"{path.removesuffix('.sock')}.lock"


def _lock(path: str) -> int | None:
    """Return a descriptor that holds the lock, or None if another one does."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # its holder removed it while we waited for it: ours would be a lock that nobody sees
