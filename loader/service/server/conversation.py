"""One connection: frames in, frames out, every wait with an end but the one between requests."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...errors import LoaderError, ServiceError, ServiceMismatchError, ServiceProtocolError
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

if TYPE_CHECKING:
    from .counters import Counters
    from .slot import Slot

_log = logging.getLogger("loader.service")
_T = TypeVar("_T")

_LONGEST: Final = {HELLO: MAX_IDENTITY_BYTES, EMBED: MAX_PAYLOAD_BYTES, STATUS: 0, STOP: 0}
"""What a client may send, and how many bytes of it."""


@dataclass(frozen=True)
class Times:
    """How long a connection may take for what.

    Attributes:
        first_frame_s: from connecting to the first complete frame.
        frame_s: from a frame's first byte to its last.
        write_s: until the other side has taken an answer.
        working_every_s: between two signs of life while somebody waits.
    """

    first_frame_s: float = 5.0
    frame_s: float = 10.0
    write_s: float = 10.0
    working_every_s: float = WORKING_EVERY_S


@dataclass(frozen=True)
class Host:
    """What all connections of one model have in common.

    Attributes:
        identity: what a HELLO must say, in bytes.
        slot: the model, perhaps not loaded yet.
        counters: what to count in.
        report: what to answer to STATUS.
        on_stop: called with the reason when a client asks for the end.
        times: limits.
        stopping: set when no further request is accepted; ended: never set while requests are pending.
    """

    identity: bytes
    slot: "Slot"
    counters: "Counters"
    report: Callable[[], dict[str, Any]]
    on_stop: Callable[[str], object]
    times: Times
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Conversation:
    """Answers one client.

    Attributes:
        is_pending: whether the client waits for an answer.
        asked_to_stop: whether it waits for the end of the service.
    """

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._said_hello = False
        self.is_pending = False
        self.asked_to_stop = False
        # Without a buffer of its own, drain() tells when the system has taken all of it.
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
            _log.info("a connection is closed: %s", error)
            await self._farewell(error)
        except (ConnectionError, TimeoutError):
            pass  # the client left, or does not take its answer

    async def _answer_all(self) -> None:
        is_first = True
        while not self._host.stopping.is_set():
            frame = await self._next_frame(is_first=is_first)
            if frame is None:
                return
            is_first = False
            self.is_pending = True
            try:
                await self._answer(*frame)
            finally:
                self.is_pending = False
            if self.asked_to_stop:
                await self._host.ended.wait()
                return

    async def _next_frame(self, *, is_first: bool) -> tuple[Header, bytes] | None:
        """Return the next frame, or None where the client closed the connection between two.

        Raises:
            ServiceProtocolError: it is none, not one that a client sends, or takes too long.
            ServiceMismatchError: it is one of another version.
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
                    raise ServiceProtocolError(f"A client sends no frames of kind {header.kind}.")
                if header.length > _LONGEST[header.kind]:
                    raise ServiceProtocolError(f"A frame of kind {header.kind} has no {header.length} bytes.")
                return header, await self._reader.readexactly(header.length)
        except TimeoutError:
            raise ServiceProtocolError("No complete frame came in time.") from None
        except asyncio.IncompleteReadError:
            raise ServiceProtocolError("The connection ended within a frame.") from None

    async def _answer(self, header: Header, payload: bytes) -> None:
        if header.kind == HELLO:
            await self._welcome(payload)
        elif header.kind == EMBED:
            await self._embed(header, payload)
        elif header.kind == STATUS:
            await self._send(pack(REPORT, json.dumps(self._host.report()).encode()))
        else:
            # First: who asks need not stay to hear the answer.
            self.asked_to_stop = True
            self._host.on_stop("a client asked for it")
            await self._send(pack(STOPPING))

    async def _welcome(self, identity: bytes) -> None:
        if self._said_hello:
            raise ServiceProtocolError("A connection begins with one HELLO, not two.")
        if identity != self._host.identity:
            raise ServiceMismatchError("This service has another version, model or other settings.")
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

    async def _embed(self, header: Header, payload: bytes) -> None:
        if not self._said_hello:
            raise ServiceProtocolError("A connection begins with HELLO.")
        batcher, _ = await self._host.slot.wait()
        try:
            texts, kind, deadline_s = unpack_embed(header, payload)
            vectors = await self._while_working(batcher.embed(texts, kind, deadline_s))
            frame = pack(VECTORS, vectors, count=len(texts))
        except (ServiceProtocolError, ServiceMismatchError):
            raise
        except ServiceError as error:
            frame = pack_error(error)
        await self._send(frame)

    async def _while_working(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what the work gives; send signs of life until then, and cancel it if the client left.

        That is looked for between the signs of life only: a task that listens meanwhile would cost every request as
            much
        as everything else about it. What a client sends early stays in the reader's buffer, which is bounded.

        Raises:
            ConnectionError: the client left.
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
            pass  # it need not listen
