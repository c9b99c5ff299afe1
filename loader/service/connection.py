"""One connection to a service: blocking, with a deadline for every step, and a check of who is on the other side."""

import os
import sys
from _socket import SHUT_RDWR, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - a class; the public module costs 2 ms of selectors and enums
from _socket import timeout as SocketTimeout  # noqa: N812
from time import monotonic

from ..errors import (
    ServiceError,
    ServiceProtocolError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    ServiceUnsafeError,
)
from ..forks import Living, after_fork_in_child
from .protocol import (
    ERROR,
    HEADER,
    HELLO,
    REPORT,
    STATUS,
    STOP,
    STOPPING,
    VECTORS,
    WELCOME,
    WORKING,
    Header,
    Welcome,
    pack,
    pack_embed,
    unpack_error,
    unpack_header,
    unpack_welcome,
)

if sys.platform != "win32":  # where folder.safe_folder raises before any connection is made
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..contract import TextKind


class Connection:
    """A socket connected to a process of this user. Used by one thread at a time.

    Args:
        path: the path of the socket.
        silence_s: longest time without a heartbeat.

    Attributes:
        silence_s: as given; may be changed between two requests.
        peer_pid: the ID of the listening process, or None if the system does not report it.

    Raises:
        ServiceUnavailableError: nothing listens there.
        ServiceTimeoutError: it does not accept the connection in time.
        ServiceUnsafeError: the listening process belongs to another user.
    """

    def __init__(self, path: str, silence_s: float) -> None:
        self.silence_s = silence_s
        from _socket import AF_UNIX  # only on platforms with a safe folder

        try:
            self._socket = Socket(AF_UNIX, SOCK_STREAM)
        except OSError as error:
            raise ServiceUnavailableError(f"Cannot create a socket: {error.strerror}.") from None
        _all_connections.add(self)
        try:
            self._socket.settimeout(silence_s)
            self._socket.connect(path)
            self.peer_pid = _check_peer(self._socket, path)
        except SocketTimeout:
            self.close()
            raise ServiceTimeoutError(f"The service at {path} did not accept a connection in time.") from None
        except BlockingIOError:
            self.close()
            raise ServiceTimeoutError(f"The service at {path} has too many waiting connections.") from None
        except OSError as error:
            self.close()
            if isinstance(error, ServiceError):
                raise
            raise ServiceUnavailableError(f"No service answers at {path}: {error.strerror}.") from None

    def __del__(self) -> None:
        # Otherwise dropping a provider would cause a warning about an unclosed socket.
        if hasattr(self, "_socket"):
            self._socket.close()

    def close(self) -> None:
        """Close it."""
        self.interrupt()
        self._socket.close()

    def interrupt(self) -> None:
        """End it, but keep its descriptor: a thread that waits for an answer on it gets an error."""
        try:
            self._socket.shutdown(SHUT_RDWR)
        except OSError:
            pass

    def abandon(self) -> None:
        """Close only this process's end: after a fork the connection belongs to the parent."""
        self._socket.close()

    def hello(self, identity: str, deadline_s: float) -> Welcome:
        """Send HELLO and return what the service reports about its model.

        Args:
            identity: the identity that the service must have.
            deadline_s: when its model must be ready, by ``time.monotonic()``.

        Raises:
            ServiceError: it has another identity, is still loading, or is not a service.
        """
        header, payload = self._ask(pack(HELLO, identity.encode("utf-8", "surrogatepass")), WELCOME, deadline_s)
        del header
        return unpack_welcome(payload)

    def embed(self, texts: list[bytes], kind: "TextKind", dimension: int, deadline_s: float) -> bytes:
        """Return the vectors of some texts, little-endian float32, texts x dimension.

        Args:
            texts: 1 to MAX_TEXTS texts in UTF-8.
            kind: ``"query"`` or ``"document"``.
            dimension: the length that each vector must have.
            deadline_s: when the answer must be there, by ``time.monotonic()``.

        Raises:
            ServiceError: there is no answer, or the answer is an error.
        """
        request = pack_embed(texts, kind, max(deadline_s - monotonic(), 0.0))
        header, payload = self._ask(request, VECTORS, deadline_s)
        if header.count != len(texts) or len(payload) != 4 * dimension * len(texts):
            raise ServiceProtocolError(
                f"The service sent {header.count} vectors in {len(payload)} bytes for {len(texts)} texts."
            )
        return payload

    def report(self, deadline_s: float) -> bytes:
        """Return the service's report about itself, JSON. Raises as ``embed``."""
        return self._ask(pack(STATUS), REPORT, deadline_s)[1]

    def stop(self, deadline_s: float) -> None:
        """Ask the service to stop, and return once it has. Raises as ``embed``."""
        self._ask(pack(STOP), STOPPING, deadline_s)
        try:
            self._socket.settimeout(max(deadline_s - monotonic(), 0.001))
            while self._socket.recv(4096):
                pass
        except SocketTimeout:
            raise ServiceTimeoutError("The service did not stop in time.") from None
        except OSError:
            pass

    def _ask(self, request: bytes, expected: int, deadline_s: float) -> tuple[Header, bytes]:
        try:
            self._socket.settimeout(self.silence_s)
            self._socket.sendall(request)
            while True:
                header = unpack_header(self._receive(HEADER.size, deadline_s))
                payload = self._receive(header.length, deadline_s)
                if header.kind != WORKING:
                    break
        except SocketTimeout:
            raise ServiceTimeoutError(self._overdue(deadline_s)) from None
        except OSError as error:
            if isinstance(error, ServiceError):
                raise
            raise ServiceUnavailableError(f"The connection to the service was lost: {error.strerror}.") from None
        if header.kind == ERROR:
            raise unpack_error(header, payload)
        if header.kind != expected:
            raise ServiceProtocolError(f"The service answered with a frame of kind {header.kind}, not {expected}.")
        return header, payload

    def _receive(self, length: int, deadline_s: float) -> bytes:
        """Return exactly ``length`` bytes. Each wait is limited by the deadline and by the longest silence."""
        pieces: list[bytes] = []
        while length:
            left = deadline_s - monotonic()
            if left <= 0.0:
                raise SocketTimeout
            self._socket.settimeout(min(left, self.silence_s))
            piece = self._socket.recv(min(length, 2**20))
            if not piece:
                raise ServiceUnavailableError("The service closed the connection.")
            pieces.append(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _overdue(self, deadline_s: float) -> str:
        if monotonic() >= deadline_s:
            return "The service did not answer in time."
        return f"The service sent no heartbeat for {self.silence_s:g} s."


_all_connections = Living()


def _after_fork_in_child() -> None:
    """Leave all connections to the parent, including those that its other threads are using."""
    for connection in _all_connections:
        connection.abandon()


after_fork_in_child(_after_fork_in_child)


def _check_peer(connected: Socket, path: str) -> int | None:
    """Return the ID of the listening process, or None if the system does not report it.

    Raises:
        ServiceUnsafeError: it belongs to another user.
    """
    if sys.platform != "linux":
        return None  # only this user can enter the folder, which must be enough
    from _socket import SO_PEERCRED, SOL_SOCKET

    credentials = connected.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    if uid != os.geteuid():
        raise ServiceUnsafeError(
            f"The process listening at {path} belongs to user {uid}, not {os.geteuid()}. Nothing was sent."
        )
    return pid
