"""One connection over HTTP: uvicorn's, with a limit to every wait and to the work in each round of the loop.

What a connection may wait for, and how long:

* the end of a request's header: HEADER_S from connecting, or from the first byte of a later one. Between two requests,
  uvicorn closes it after 5 s;
* the body of a request: ``http_app.BODY_S``, and the vectors: ``http_vectors.DEADLINE_S``, see there;
* the client to take an answer: TAKE_S;
* the client to notice that we are closing, while it still sends what nothing will read: PARTING_S and PARTING_BYTES.

An answer to a request whose body is not read, or to a client without the token that has already sent more, ends the
connection: reading on would mean work for a client that should get none.
"""

import asyncio
import re
from typing import Any, Final

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .http_places import Peer, Places

HEADER_S: Final = 5.0
"""The same as for the first frame of the service's own protocol."""
TAKE_S: Final = 30.0
"""How long a client may take to read some megabytes: on the same machine, a client that needs longer has stopped."""
PARTING_S: Final = 5.0
"""How long to drop what a client still sends, so that it can read why it is refused."""
PARTING_BYTES: Final = 32 * 2**20
"""How much of it to drop: enough for a client that sends a little too much, not for one that never stops."""
SLICE_BYTES: Final = 4096
"""Bytes that are parsed in one round of the loop: at most some hundred chunks of a body, a few milliseconds."""
BODY_SLICE_BYTES: Final = 64 * 1024
"""The same for a body of known length, which needs no parsing."""

_HEADER_END = re.compile(rb"\n\r?\n")


class HttpConnection(H11Protocol):
    """Answers one client.

    Args:
        config: uvicorn's.
        server_state: uvicorn's.
        places: where this connection has its place, which it gives back.
        peer: who connected.

    Attributes:
        peer: as given.
    """

    def __init__(self, config: Config, server_state: ServerState, places: Places, peer: Peer) -> None:
        super().__init__(config, server_state, {"connection": self})
        self.peer = peer
        self._places = places
        self._has_token = False
        self._transport: asyncio.Transport | None = None
        self._was_dropped = False
        self._unread = bytearray()
        self._feeding: asyncio.Handle | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._take_timer: asyncio.TimerHandle | None = None

    @property
    def may_be_displaced(self) -> bool:
        """Whether it has not shown the token, and waits for no answer."""
        if self._has_token:
            return False
        return self._is_between_requests or self.is_sending or self._parting.is_closing()

    @property
    def is_sending(self) -> bool:
        """Whether the body of the last request has not arrived."""
        return self.conn.their_state is h11.SEND_BODY

    def show_token(self) -> None:
        """Record that a request had the right token: from now on this connection may stay."""
        self._has_token = True

    def drop(self) -> None:
        """End it at once, or as soon as it begins."""
        self._was_dropped = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._transport = transport
        self._parting = _Parting(transport, self)
        super().connection_made(self._parting)  # type: ignore[arg-type] # it has all that uvicorn asks of a transport
        self.access_log = False  # Config's own switch has no effect if the program sets up its logging later
        self._header_timer = self.loop.call_later(HEADER_S, self.drop)
        if self._was_dropped:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._places.leave(self)
        for timer in (self._header_timer, self._take_timer, self._feeding):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle what the client sent."""
        if self._parting.dropped(len(data)):
            return
        self._unread += data
        if self._feeding is None:
            self._feed()

    def pause_writing(self) -> None:
        """The client reads its answer more slowly than it is written."""
        super().pause_writing()
        if self._take_timer is None:
            self._take_timer = self.loop.call_later(TAKE_S, self.drop)

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        super().resume_writing()
        if self._is_between_requests:
            self._stop_take_timer()

    # uvicorn calls this.

    def on_response_complete(self) -> None:
        """Continue with what the client has sent meanwhile, or end."""
        more = bool(self._unread or self.conn.trailing_data[0])
        if self.is_sending or (more and not self._has_token):
            self.transport.close()
        if not self.flow.write_paused:
            self._stop_take_timer()
        super().on_response_complete()
        if self._unread and self._feeding is None and not self.transport.is_closing():
            self._feed()

    # The rest is ours.

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _feed(self) -> None:
        """Parse a piece of what has arrived, and the next one in the next round."""
        self._feeding = None
        if self.transport.is_closing():
            self._unread.clear()
            return
        if self.conn.their_state is h11.DONE and not self._is_between_requests:
            self._parting.hold(True)  # an early request, whose turn comes after the answer
            return
        if self.conn.their_state is h11.IDLE and self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_S, self.drop)
        piece = self._next_piece()
        super().data_received(piece)
        if self.conn.their_state is not h11.IDLE and self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        self._parting.hold(bool(self._unread))
        if self._unread:
            self._feeding = self.loop.call_soon(self._feed)

    def _next_piece(self) -> bytes:
        """Return as much as may be parsed in this round: nothing of a body before the header has been checked."""
        size = SLICE_BYTES
        if self.conn.their_state is h11.IDLE:
            end = _HEADER_END.search(self._unread, 0, size)
            size = end.end() if end else size
        elif self.is_sending and all(name != b"transfer-encoding" for name, _ in self.headers):
            size = BODY_SLICE_BYTES
        piece = bytes(self._unread[:size])
        del self._unread[:size]
        return piece

    def _stop_take_timer(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None


class _Parting:
    """The transport as uvicorn sees it: reading has two reasons to pause, and closing lets the client read first."""

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        self._transport = transport
        self._connection = connection
        self._wanted = True
        self._held = False
        self._is_parting = False
        self._dropped_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more is read or answered."""
        return self._is_parting or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Stop reading, because uvicorn has enough."""
        self._wanted = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless we have enough."""
        self._wanted = True
        if not self._held:
            self._transport.resume_reading()

    def hold(self, held: bool) -> None:
        """Stop reading while we have enough."""
        self._held = held
        if held:
            self._transport.pause_reading()
        elif self._wanted:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close it once the client has taken what was written.

        If it were closed at once, a client that is still sending would lose the answer: the kernel resets such
        connections.
        """
        if self.is_closing():
            return
        loop = self._connection.loop
        if not self._connection.is_sending:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                loop.call_later(TAKE_S, self._transport.abort)
            return
        self._is_parting = True
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset the connection
            self._transport.abort()
            return
        self._transport.resume_reading()
        loop.call_later(PARTING_S, self._transport.abort)

    def dropped(self, size: int) -> bool:
        """Whether these ``size`` bytes arrived during parting, and are dropped."""
        if self._is_parting:
            self._dropped_bytes += size
            if self._dropped_bytes > PARTING_BYTES:
                self._transport.abort()
        return self.is_closing()
