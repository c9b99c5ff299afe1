"""One connection: frames in, frames out, with a limit to every wait except the one between requests."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...errors import LoaderError, ServiceBusyError, ServiceError, ServiceMismatchError, ServiceProtocolError
from ..protocol import (
    EMBED,
    HEADER,
    HELLO,
    MAX_IDENTITY_BYTES,
    MAX_PAYLOAD_BYTES,
    REPORT,
    STATUS,
    STOP,
    STOPPING,
    VECTORS,
    WORKING,
    WORKING_EVERY_S,
    Header,
    Welcome,
    pack,
    pack_error,
    pack_welcome,
    unpack_embed,
    unpack_header,
)
from .off_loop import off_loop_if_large
from .room import Room, memory_of

if TYPE_CHECKING:
    from .counters import Counters
    from .room import Held
    from .slot import Slot

_log = logging.getLogger("loader.service")
_T = TypeVar("_T")

_LONGEST: Final = {HELLO: MAX_IDENTITY_BYTES, EMBED: MAX_PAYLOAD_BYTES, STATUS: 0, STOP: 0}
"""The frames that a client may send, and the maximum size of each."""


@dataclass(frozen=True)
class Times:
    """The time limits of a connection.

    Attributes:
        first_frame_s: from connecting to the first complete frame.
        frame_s: from a frame's first byte to its last.
        write_s: until the client has taken an answer.
        working_every_s: between two heartbeats while a client waits.
    """

    first_frame_s: float = 5.0
    frame_s: float = 10.0
    write_s: float = 10.0
    working_every_s: float = WORKING_EVERY_S


@dataclass(frozen=True)
class Host:
    """What all connections of one model share.

    Attributes:
        identity: the identity that a HELLO must have, in bytes.
        slot: the model, perhaps not loaded yet.
        counters: what to count in.
        report: returns the answer to STATUS.
        on_stop: called with the reason when a client asks the service to stop.
        times: time limits.
        room: for the bytes of requests and answers.
        stopping: set when no further request is accepted; ended: never set while requests are pending.
    """

    identity: bytes
    slot: "Slot"
    counters: "Counters"
    report: Callable[[], dict[str, Any]]
    on_stop: Callable[[str], object]
    times: Times
    room: Room
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Conversation:
    """Answers one client.

    Attributes:
        is_pending: whether the client waits for an answer.
        asked_to_stop: whether it waits for the service to stop.
    """

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._said_hello = False
        self.is_pending = False
        self.asked_to_stop = False
        # Without its own buffer, drain() returns when the system has taken everything.
        writer.transport.set_write_buffer_limits(high=0)

    async def run(self) -> None:
        """Answer until either side ends it. The caller closes the connection."""
        try:
            await self._answer_all()
        except (ServiceProtocolError, ServiceMismatchError) as error:
            if isinstance(error, ServiceMismatchError):
                self._host.counters.mismatches += 1
            else:
                self._host.counters.protocol_errors += 1
            _log.info("closing a connection: %s", error)
            await self._farewell(error)
        except (ConnectionError, TimeoutError):
            pass  # the client has left, or does not take its answer

    async def _answer_all(self) -> None:
        is_first = True
        while not self._host.stopping.is_set():
            with self._host.room.hold() as held:
                try:
                    frame = await self._next_frame(held, is_first=is_first)
                except ServiceBusyError as error:
                    self._host.counters.busy += 1
                    await self._send(pack_error(error))
                    continue
                if frame is None:
                    return
                is_first = False
                self.is_pending = True
                try:
                    await self._answer(*frame, held)
                finally:
                    self.is_pending = False
            if self.asked_to_stop:
                await self._host.ended.wait()
                return

    async def _next_frame(self, held: "Held", *, is_first: bool) -> tuple[Header, bytes] | None:
        """Return the next frame, or None if the client closed the connection between two frames.

        Raises:
            ServiceBusyError: there is no room for it; it has been read and dropped.
            ServiceProtocolError: it is invalid, not one that a client may send, or takes too long.
            ServiceMismatchError: it has another protocol version.
        """
        times = self._host.times
        try:
            async with asyncio.timeout(times.first_frame_s if is_first else None) as limit:
                start = await self._reader.read(1)
                if not start:
                    return None
                if not is_first:
                    limit.reschedule(asyncio.get_running_loop().time() + times.frame_s)
                header = unpack_header(start + await self._reader.readexactly(HEADER.size - 1))
                if header.kind not in _LONGEST:
                    raise ServiceProtocolError(f"A client must not send a frame of kind {header.kind}.")
                if header.length > _LONGEST[header.kind]:
                    raise ServiceProtocolError(f"A frame of kind {header.kind} cannot have {header.length} bytes.")
                try:
                    held.change(header.length)
                except ServiceBusyError:
                    await self._skip(header.length)
                    raise
                return header, await self._reader.readexactly(header.length)
        except TimeoutError:
            raise ServiceProtocolError("No complete frame came in time.") from None
        except asyncio.IncompleteReadError:
            raise ServiceProtocolError("The connection ended within a frame.") from None

    async def _skip(self, length: int) -> None:
        while length:
            data = await self._reader.read(length)
            if not data:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(data)

    async def _answer(self, header: Header, payload: bytes, held: "Held") -> None:
        if header.kind == HELLO:
            await self._welcome(payload)
        elif header.kind == EMBED:
            await self._embed(header, payload, held)
        elif header.kind == STATUS:
            await self._send(pack(REPORT, json.dumps(self._host.report()).encode()))
        else:
            # First, because the client need not wait for the answer.
            self.asked_to_stop = True
            self._host.on_stop("a client asked for it")
            await self._send(pack(STOPPING))

    async def _welcome(self, identity: bytes) -> None:
        if self._said_hello:
            raise ServiceProtocolError("A connection must begin with one HELLO, not two.")
        if identity != self._host.identity:
            raise ServiceMismatchError("This service has a different version, model or settings.")
        try:
            _, provider = await self._while_working(self._host.slot.wait())
        except (ServiceProtocolError, ServiceMismatchError):
            raise
        except LoaderError as error:
            await self._send(pack_error(error))
            return
        self._said_hello = True
        welcome = Welcome(
            provider.dimension, provider.max_seq_length, provider.engine, provider.device, provider.precision
        )
        await self._send(pack_welcome(welcome))

    async def _embed(self, header: Header, payload: bytes, held: "Held") -> None:
        if not self._said_hello:
            raise ServiceProtocolError("A connection must begin with HELLO.")
        try:
            batcher, _ = await self._host.slot.wait()
            texts, kind, deadline_s = await off_loop_if_large(len(payload), unpack_embed, header, payload)
            held.add(memory_of(texts))
            vectors = await self._while_working(batcher.embed(texts, kind, deadline_s))
            frame = pack(VECTORS, vectors, count=len(texts))
        except (ServiceProtocolError, ServiceMismatchError):
            raise
        except ServiceError as error:
            frame = pack_error(error)
        await self._send(frame)

    async def _while_working(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return the result of the work; send heartbeats until then, and cancel it if the client has left.

        That is checked only between heartbeats: a task that listens meanwhile would double the cost of each request.
        What a client sends early stays in the reader's buffer, which is bounded.

        Raises:
            ConnectionError: the client has left.
        """
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait((task,), timeout=self._host.times.working_every_s))[0]:
                if self._reader.at_eof():
                    raise ConnectionResetError("the client left")
                await self._send(pack(WORKING))
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _send(self, frame: bytes) -> None:
        """Send a frame. Raises ConnectionError or TimeoutError."""
        self._writer.write(frame)
        async with asyncio.timeout(self._host.times.write_s):
            await self._writer.drain()

    async def _farewell(self, error: Exception) -> None:
        try:
            await self._send(pack_error(error))
        except (ConnectionError, TimeoutError):
            pass  # the client need not listen
