"""Who is at the other end of a socket, according to the kernel."""

import socket
import struct
import sys
from typing import Final

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # <sys/un.h> of macOS and the BSDs; Python has no names for them

# <linux/sock_diag.h> and <linux/inet_diag.h>, see sock_diag(7); all but ports and addresses in native byte order.
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8
_MESSAGE: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_QUESTION: Final = struct.Struct("=BBBxI")  # family, protocol, extensions, states; the socket's ID follows
_ANSWER: Final = struct.Struct("=4x48x3I")  # family and so on, the socket's ID, expires, queues; the user follows


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user of the process that connected to a Unix socket, or None if the system does not report it.

    Raises:
        OSError: the connection is gone.
    """
    if hasattr(socket, "SO_PEERCRED"):  # Linux: pid, uid, gid, see unix(7)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid: int = struct.unpack("iII", credentials)[1]
        return uid
    if sys.platform == "darwin":  # struct xucred: version, uid, ...
        return int(struct.unpack_from("II", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76))[1])
    return None


def tcp_peer(connection: socket.socket) -> tuple[str, int | None]:
    """Return who connected over TCP: the address, and the user if it is this machine and Linux reports it.

    All addresses of this machine count as one, because a local client can use many.
    """
    try:
        address, port = connection.getpeername()[:2]
        own_address, own_port = connection.getsockname()[:2]
        if address != own_address and not address.startswith("127."):
            return address, None
        return "this machine", _tcp_uid(connection.family, (address, port), (own_address, own_port))
    except OSError:
        return "gone", None


def _tcp_uid(family: int, socket_address: tuple[str, int], peer_address: tuple[str, int]) -> int | None:
    """Return the user of a local TCP socket. The kernel can look up a single one; /proc/net/tcp would list them all."""
    if sys.platform != "linux":
        return None
    ends = struct.pack("!HH", socket_address[1], peer_address[1]) + b"".join(
        socket.inet_pton(family, address).ljust(16, b"\0") for address, _ in (socket_address, peer_address)
    )
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES) + ends + struct.pack("=I", 0) + _NO_COOKIE
    head = _MESSAGE.pack(_MESSAGE.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG) as kernel:
            kernel.sendto(head + question, (0, 0))
            answer = kernel.recv(4096)  # it has answered by then
        if _MESSAGE.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
            return None  # an error: the socket is gone, or the kernel does not know
        uid: int = struct.unpack_from("=I", answer, _MESSAGE.size + _ANSWER.size)[0]
    except (OSError, struct.error):
        return None
    return uid
