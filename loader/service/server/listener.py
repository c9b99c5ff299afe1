"""The connections of one model's socket: who may connect, how many, and what becomes of them at the end."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ...errors import ServiceBusyError
from ..protocol import pack_error
from .conversation import Conversation, Host, Times
from .peer import peer_uid

if TYPE_CHECKING:
    import _socket

    from .counters import Counters
    from .slot import Slot

_log = logging.getLogger("loader.service")

MAX_CONNECTIONS: Final = 256
"""Far more callers than one user has, far fewer than the descriptors of a process."""
_READ_AHEAD_BYTES = 64 * 1024


class ModelServer:
    """Serves one model at one socket, which accepts connections before the model is loaded.

    Args:
        listener: an AF_UNIX socket that listens; used through a copy of its descriptor, so that its owner may close it.
        identity: what a client must ask for, exactly.
        slot: the model.
        counters: what to count in.
        report: returns the answer to STATUS, an object for JSON.
        on_stop: called with the reason when a client asks the service to stop.
        times: limits of a connection.
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
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listener = listener
        self._host = Host(identity.encode("utf-8", "surrogatepass"), slot, counters, report, on_stop, times)
        self._counters = counters
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], Conversation] = {}

    async def start(self) -> None:
        """Begin to accept connections."""
        own = socket.socket(fileno=os.dup(self._listener.fileno()))
        self._server = await asyncio.start_unix_server(
            self._accept, sock=own, limit=_READ_AHEAD_BYTES, backlog=self._max_connections
        )

    def stop_accepting(self) -> None:
        """Accept no connection and no request any more; close the connections where nobody waits for an answer."""
        self._host.stopping.set()
        if self._server is not None:
            self._server.close()
        for task, conversation in self._conversations.items():
            if not conversation.is_pending and not conversation.asked_to_stop:
                task.cancel()

    async def finish(self) -> None:
        """Wait until the requests that were accepted are answered."""
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

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_own(writer):
            self._counters.strangers += 1
            _log.warning("a connection of another user was closed")
            writer.transport.abort()
        elif self._host.stopping.is_set():
            writer.transport.abort()
        elif len(self._conversations) >= self._max_connections:
            self._counters.busy += 1
            writer.write(pack_error(ServiceBusyError(f"{self._max_connections} connections are open already.")))
            writer.close()
        else:
            self._begin(reader, writer)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(self._host, reader, writer)
        task = asyncio.get_running_loop().create_task(conversation.run())
        self._conversations[task] = conversation
        self._counters.connections += 1
        self._counters.connections_total += 1

        def ended(task: asyncio.Task[None]) -> None:
            del self._conversations[task]
            self._counters.connections -= 1
            writer.transport.abort()  # whatever was to be said has been taken, or never will be
            error = None if task.cancelled() else task.exception()
            if error is not None:
                # Its name only: the message may hold anything.
                _log.error("a connection ended unexpectedly: %s", type(error).__name__)

        task.add_done_callback(ended)

    def _is_own(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the other side is the same user; where the system does not tell, the socket's folder protects it."""
        try:
            uid = peer_uid(writer.get_extra_info("socket"))
        except OSError:
            return False
        return uid is None or uid == os.geteuid()
