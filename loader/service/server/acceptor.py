"""Accepting connections at a listening socket, even if the process runs out of descriptors.

asyncio's own servers then retry once for each place in their backlog, each time with a traceback in the log and another
timer. This one takes a break. It also keeps some descriptors back, because the service itself needs some: to load a
model, to read its memory, to import what a first request needs.
"""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

_log = logging.getLogger("loader.service")

RESERVED_DESCRIPTORS: Final = 128
"""Descriptors that connections leave to the service itself; if the process's limit is low, half of the limit."""
PAUSE_S: Final = 1.0
"""How long to accept nothing after the system has refused a descriptor."""
_AT_A_TIME: Final = 8
"""Accepted connections that do not have their protocol yet; more wait until these do."""

Factory = Callable[[], asyncio.BaseProtocol]

_open: "WeakSet[socket.socket]" = WeakSet()
"""Connections accepted in this process, some perhaps closed since: all sockets share one limit of descriptors."""


class Acceptor:
    """Accepts connections at one socket. For one event loop.

    Args:
        listener: a listening socket, which this object owns from now on.
        admit: called with each connection and whether descriptors are short; returns a factory for its protocol, or
            None to close the connection. It may send something before that.
    """

    def __init__(self, listener: socket.socket, admit: Callable[[socket.socket, bool], Factory | None]) -> None:
        self._listener = listener
        self._admit = admit
        self._arriving: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def arriving(self) -> int:
        """How many admitted connections do not have their protocol yet."""
        return len(self._arriving)

    def start(self) -> None:
        """Start accepting."""
        self._loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stop accepting, and close the listening socket; idempotent."""
        if self._listener.fileno() < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while len(self._arriving) < _AT_A_TIME:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                self._pause(error)
                return
            short = _are_short()
            if short:
                _log.error("descriptors are short (ulimit -n): some connections must close before more can be accepted")
            self._take(connection, short)

    def _take(self, connection: socket.socket, short: bool) -> None:
        connection.setblocking(False)
        factory = self._admit(connection, short)
        if factory is None:
            connection.close()
            return
        _open.add(connection)
        task = self._loop.create_task(self._connect(connection, factory))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _connect(self, connection: socket.socket, factory: Factory) -> None:
        try:
            await self._loop.connect_accepted_socket(factory, connection)
        except OSError:
            connection.close()

    def _pause(self, error: OSError) -> None:
        """Leave new clients in the kernel's queue for a while; otherwise it would report them again and again."""
        _log.error("cannot accept connections (%s); trying again every %g s", error.strerror, PAUSE_S)
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(PAUSE_S, self._loop.add_reader, self._listener, self._accept)


def _are_short() -> bool:
    """Whether one more connection would leave too few descriptors for the service itself."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = limit - min(RESERVED_DESCRIPTORS, limit // 2)
    if limit < 0 or len(_open) < most:
        return False
    for connection in list(_open):
        if connection.fileno() < 0:
            _open.discard(connection)
    return len(_open) >= most


def say_and_leave(connection: socket.socket, data: bytes) -> None:
    """Send what fits at once: a new connection has room for a sentence."""
    with contextlib.suppress(OSError):
        connection.send(data)
