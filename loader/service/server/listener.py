"""The connections of one model's socket: who may connect, how many, and what happens to them at the end."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ...errors import ServiceBusyError
from ..protocol import pack_error
from .acceptor import Acceptor, Factory, say_and_leave
from .conversation import Conversation, Host, Times
from .credentials import peer_uid
from .room import Room

if TYPE_CHECKING:
    import _socket

    from .counters import Counters
    from .slot import Slot

_log = logging.getLogger("loader.service")

MAX_CONNECTIONS: Final = 256
"""Far more than one user's callers, far fewer than the descriptors of a process."""
_READ_AHEAD_BYTES = 64 * 1024


class ModelServer:
    """Serves one model at one socket, which accepts connections before the model is loaded.

    Args:
        listener: a listening AF_UNIX socket; used through a copy of its descriptor, so its owner may close it.
        identity: what a client must request, exactly.
        slot: the model.
        counters: what to count in.
        report: returns the answer to STATUS, an object for JSON.
        on_stop: called with the reason when a client asks the service to stop.
        times: the time limits of a connection.
        room: for the bytes of requests and answers; None for a separate one.
        max_connections: how many may be open.
    """

    def __init__(
        self,
        listener: "_socket.socket",
        identity: str,
        slot: "Slot",
        counters: "Counters",
        report: Callable[[], dict[str, Any]],
        on_stop: Callable[[str], object],
        *,
        times: Times = Times(),  # noqa: B008 - immutable
        room: Room | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listener = listener
        self._host = Host(
            identity.encode("utf-8", "surrogatepass"), slot, counters, report, on_stop, times, room or Room()
        )
        self._counters = counters
        self._max_connections = max_connections
        self._acceptor: Acceptor | None = None
        self._conversations: dict[asyncio.Task[None], Conversation] = {}

    async def start(self) -> None:
        """Start accepting connections."""
        own = socket.socket(fileno=os.dup(self._listener.fileno()))
        own.listen(self._max_connections)  # again here, so that the kernel reports this process as the listener
        self._acceptor = Acceptor(own, self._admit)
        self._acceptor.start()

    async def listen_at(self, listener: "_socket.socket") -> None:
        """Accept connections at another socket from now on; open connections stay."""
        if self._acceptor is not None:
            self._acceptor.close()
        self._listener = listener
        await self.start()

    def stop_accepting(self) -> None:
        """Stop accepting connections and requests; close the connections whose client does not wait for an answer."""
        self._host.stopping.set()
        if self._acceptor is not None:
            self._acceptor.close()
        for task, conversation in self._conversations.items():
            if not conversation.is_pending and not conversation.asked_to_stop:
                task.cancel()

    async def finish(self) -> None:
        """Wait until the accepted requests are answered."""
        while pending := [task for task, conversation in self._conversations.items() if conversation.is_pending]:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Close all connections."""
        self._host.ended.set()
        tasks = list(self._conversations)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the event loop closes the sockets in its next round

    def _admit(self, connection: socket.socket, short: bool) -> Factory | None:
        """Return the factory of a connection's protocol, or None to close it."""
        if not self._is_own(connection):
            self._counters.strangers += 1
            _log.warning("closed a connection from another user")
            return None
        arriving = self._acceptor.arriving if self._acceptor is not None else 0
        if short or len(self._conversations) + arriving >= self._max_connections:
            self._counters.busy += 1
            reason = (
                "No descriptor is left for" if short else f"{self._max_connections} connections are open, too many for"
            )
            say_and_leave(connection, pack_error(ServiceBusyError(f"{reason} another connection.")))
            return None
        return self._protocol

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ_AHEAD_BYTES, loop=loop)
        return asyncio.StreamReaderProtocol(reader, self._begin, loop=loop)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.stopping.is_set():
            writer.transport.abort()
            return
        conversation = Conversation(self._host, reader, writer)
        task = asyncio.get_running_loop().create_task(conversation.run())
        self._conversations[task] = conversation
        self._counters.connections += 1
        self._counters.connections_total += 1

        def ended(task: asyncio.Task[None]) -> None:
            del self._conversations[task]
            self._counters.connections -= 1
            writer.transport.abort()  # everything to send has been taken, or never will be
            error = None if task.cancelled() else task.exception()
            if error is not None:
                # Only the type: the message may contain anything.
                _log.error("a connection ended unexpectedly: %s", type(error).__name__)

        task.add_done_callback(ended)

    def _is_own(self, connection: socket.socket) -> bool:
        """Whether the other side is the same user; if the system does not say, the socket's folder protects it."""
        try:
            uid = peer_uid(connection)
        except OSError:
            return False
        return uid is None or uid == os.geteuid()
