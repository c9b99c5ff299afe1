"""The right to be a service: a lock, a socket, and a turn to get them.

Only the process that holds the lock of an identity may create its socket; all others connect to it or do without. The
lock belongs to an open file, which the caller hands over to the service together with the socket: it is held as long as
either process lives, and the kernel releases it when the last one is gone, however it ended. The caller itself creates
the socket, first under another name, so that a socket either does not exist or accepts connections.

Before that comes a *turn*, another lock, which a caller holds while it tries. A restart holds it from before the old
service ends until the new one has its lock: otherwise a caller that keeps trying would be faster, and the new service
would have that caller's arguments.

Names can be lost: a clean-up may remove a file that seems unused. So no process removes a file that is no longer its
own, and a service checks now and then whether callers can still find it, see ``Claim.mend``.
"""

import os
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - see loader.service.connection
from time import monotonic, sleep

from ..errors import ServiceUnavailableError
from .folder import safe_folder, socket_path
from .locks import Lock, remove_file, same_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .identity import Identity

BACKLOG: "Final" = 128
TURN_S: "Final" = 5.0
"""Longest wait for other processes that are starting a service, which takes milliseconds."""
LEFT: "Final" = (".lock", ".new", ".turn")
"""Extensions of files that a killed process may leave, with or without a socket."""
_AGAIN_S: "Final" = 0.02


class Claim:
    """The right to be the service at one socket, and the socket. Ends with ``release`` or with the process.

    Attributes:
        path: the path of the socket.
        listener: the listening socket.
        lock: the lock that only one service can have at a time.
    """

    def __init__(self, path: str, listener: Socket, lock: Lock) -> None:
        self.path = path
        self.listener = listener
        self.lock = lock
        self._found = os.stat(path)

    def close(self) -> None:
        """Close it in this process; another process that has it keeps it."""
        self.listener.close()  # unless it was detached
        self.lock.close()

    def unlink(self) -> None:
        """Remove the socket, if it is still this one, so that nobody can connect any more."""
        if same_file(self._found, self.path):
            remove_file(self.path)

    def release(self) -> None:
        """Remove socket and lock if they are still these; idempotent."""
        if self.lock.fd >= 0:
            self.unlink()
            self.lock.release()
            self.close()

    def mend(self) -> bool:
        """Make sure that callers find this service: replace a lock or socket whose name is gone.

        Returns:
            Whether ``listener`` was replaced.

        Raises:
            ServiceUnavailableError: it cannot be repaired, for instance because another service has taken its place.
        """
        try:
            if not self.lock.is_in_place():
                lock = Lock.take(self.lock.path)
                if lock is None:
                    raise ServiceUnavailableError(f"Another service has taken the place at {self.path}.")
                self.lock.close()
                self.lock = lock
            if same_file(self._found, self.path):
                return False
            listener = _listen(self.path)
        except OSError as error:
            if isinstance(error, ServiceUnavailableError):
                raise
            raise ServiceUnavailableError(f"Callers can no longer find {self.path}: {error.strerror}.") from None
        self.listener.close()
        self.listener, self._found = listener, os.stat(self.path)
        return True


def take_turn(identity: "Identity") -> Lock:
    """Return the right to claim this service next; the caller must release it.

    Raises:
        ServiceUnavailableError: another process holds it for too long, or its file cannot be created.
        ServiceUnsafeError: the folder is not safe.
    """
    path = sibling(socket_path(safe_folder(create=True), identity.name), ".turn")
    deadline_s = monotonic() + TURN_S
    while (turn := _take(path)) is None:
        if monotonic() > deadline_s:
            raise ServiceUnavailableError(f"Another process is starting {identity.model}; it holds {path}.")
        sleep(_AGAIN_S)
    return turn


def claim(identity: "Identity", turn: Lock | None = None) -> Claim | None:
    """Return the right to be this service, with a listening socket; None if another process has it or is getting it.

    Args:
        identity: the identity of the service.
        turn: from ``take_turn``; with it, this waits until a stopping service has released its claim.

    Raises:
        ServiceUnavailableError: the folder, the lock or the socket cannot be created.
        ServiceUnsafeError: the folder is not safe.
    """
    path = socket_path(safe_folder(create=True), identity.name)
    if turn is None:
        own = _take(sibling(path, ".turn"))
        if own is None:
            return None
        try:
            return _claim(path)
        finally:
            own.release()
    deadline_s = monotonic() + TURN_S
    while (held := _claim(path)) is None and monotonic() < deadline_s:
        sleep(_AGAIN_S)
    return held


def _claim(path: str) -> Claim | None:
    lock = _take(sibling(path, ".lock"))
    if lock is None:
        return None
    try:
        if _is_listened_to(path):
            lock.close()  # the lock's file was removed; the service takes this one soon
            return None
        # We have the lock, so a socket of that name was left by a killed service.
        return Claim(path, _listen(path), lock)
    except OSError as error:
        lock.release()
        raise ServiceUnavailableError(f"Cannot start a service at {path}: {error.strerror}.") from None
    except BaseException:
        lock.release()
        raise


def _listen(path: str) -> Socket:
    """Return a listening socket of that name, for the holder of its lock. Raises OSError."""
    new = sibling(path, ".new")  # shorter than the socket's own name, so it fits even if the path has maximum length
    remove_file(new)  # left by a killed starter
    listener = Socket(AF_UNIX, SOCK_STREAM)
    try:
        listener.bind(new)
        listener.listen(BACKLOG)
        os.rename(new, path)
    except BaseException:
        listener.close()
        remove_file(new)
        raise
    return listener


def _is_listened_to(path: str) -> bool:
    client = Socket(AF_UNIX, SOCK_STREAM)
    try:
        client.settimeout(0.0)
        client.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return False
    finally:
        client.close()
    return True


def remove_leftover(path: str) -> bool:
    """Remove what a dead service left behind; if a service lives there, touch nothing and return False.

    Args:
        path: the path of the socket, which need not exist.
    """
    try:
        turn = Lock.take(sibling(path, ".turn")) if os.path.lexists(sibling(path, ".turn")) else None
        if turn is not None:
            turn.release()
        lock = Lock.take(sibling(path, ".lock"))
    except OSError:
        return False
    if lock is None:
        return False
    if _is_listened_to(path):
        lock.close()  # the lock's file was removed; the service takes this one soon
        return False
    for leftover in (path, sibling(path, ".new")):  # not the log, which may say why the service is gone
        remove_file(leftover)
    lock.release()
    return True


def sibling(path: str, ending: str) -> str:
    """Return the path of another file of the service with this socket."""
    return f"{path.removesuffix('.sock')}{ending}"


def _take(path: str) -> Lock | None:
    try:
        return Lock.take(path)
    except OSError as error:
        raise ServiceUnavailableError(f"Cannot start a service: {path}: {error.strerror}.") from None
