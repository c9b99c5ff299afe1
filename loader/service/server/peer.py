"""Who is at the other end of a Unix socket, as the kernel says."""

import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1  # <sys/un.h> of macOS and the BSDs; Python has no names for them


def peer_uid(connection: "socket.socket | TransportSocket") -> int | None:
    """Return the user of the process that connected, or None where the system does not tell.

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
