"""A bounded queue in front of one model, computed in micro-batches by one thread.

No delay is ever added to fill a batch: as soon as the thread is free, it takes what is waiting. The oldest request is
always in the next batch, whatever its kind, so no request can be overtaken for long.

Anything raised while a batch is computed, including a panic in a Rust library, is the answer to its request, and the
thread goes on, unless the model is damaged: then the creator of the batcher is told, and the service must exit. If the
thread ends nevertheless, all waiting callers and the creator of the batcher are told: a service
without it must exit.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import (
    ModelCorruptError,
    ServiceBusyError,
    ServiceRefusedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from ...contract import TextKind
    from ...local_provider import LocalProvider
    from .counters import Counters
    from .threads import MatrixThreads

_log = logging.getLogger("loader.service")

MAX_QUEUED_TEXTS = 1024
"""Texts that may wait: seconds of work, more than any caller would wait for."""
MAX_BATCH_TEXTS = 32
"""Texts of one micro-batch: one run of a model, for which the next request has to wait."""


class _Request:
    """Texts, and the future that gets their vectors or an error."""

    __slots__ = ("answer", "deadline_s", "kind", "texts")

    def __init__(self, texts: list[str], kind: "TextKind", deadline_s: float, answer: "asyncio.Future[bytes]") -> None:
        self.texts = texts
        self.kind = kind
        self.deadline_s = deadline_s
        self.answer = answer


class Batcher:
    """Computes the requests of one event loop with one provider.

    Args:
        provider: computes, in this object's thread only.
        counters: what to count in.
        max_queued_texts: texts that may wait, not counting those being computed.
        max_batch_texts: texts of several requests that are computed together; a single request may have more.
        threads: sets the number of threads of each batch, or None to leave it unchanged.
        on_death: called in the event loop with the reason if the thread ends unasked.
        on_damage: called in the event loop with the reason if the model's files turn out to be damaged.
    """

    def __init__(
        self,
        provider: "LocalProvider",
        counters: "Counters",
        *,
        max_queued_texts: int = MAX_QUEUED_TEXTS,
        max_batch_texts: int = MAX_BATCH_TEXTS,
        threads: "MatrixThreads | None" = None,
        on_death: "Callable[[ServiceUnavailableError], object] | None" = None,
        on_damage: "Callable[[str], object] | None" = None,
    ) -> None:
        self._provider = provider
        self._counters = counters
        self._max_queued_texts = max_queued_texts
        self._max_batch_texts = max_batch_texts
        self._threads = threads
        self._on_death = on_death
        self._on_damage = on_damage
        self._unanswered: set[_Request] = set()  # the event loop's: it knows these whatever happens to the thread
        self._queue: dict[_Request, None] = {}  # in order of arrival, with quick removal of any request
        self._queued_texts = 0
        self._changed = threading.Condition()
        self._draining = False
        self._ended = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Call it in the event loop that awaits ``embed``."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="embedding-service", daemon=True)
        self._thread.start()

    @property
    def queued_texts(self) -> int:
        """How many texts wait, not counting those being computed."""
        return self._queued_texts

    async def embed(self, texts: list[str], kind: "TextKind", deadline_s: float) -> bytes:
        """Return the vectors: float32, little-endian, row by row.

        Cancelling a caller removes its request, unless its computation has begun.

        Args:
            texts: valid texts.
            kind: which of the model's prompts goes before them.
            deadline_s: seconds from now by which the computation must have begun.

        Raises:
            ServiceBusyError: the texts do not fit into the queue.
            ServiceTimeoutError: their turn did not come in time.
            ServiceRefusedError: the engine failed; names only the type of its error, because messages may quote a text,
                unless the model is damaged.
            ServiceUnavailableError: the service is stopping.
        """
        request = _Request(texts, kind, time.monotonic() + deadline_s, self._loop.create_future())
        self._accept(request)
        self._unanswered.add(request)
        counters = self._counters
        counters.pending += 1
        timer = self._loop.call_later(deadline_s, self._expire, request)
        try:
            vectors = await request.answer
        except ServiceTimeoutError:
            counters.timeouts += 1
            raise
        except ServiceRefusedError:
            counters.refused += 1
            raise
        except asyncio.CancelledError:
            counters.cancelled += 1
            raise
        else:
            return vectors
        finally:
            timer.cancel()
            self._unanswered.discard(request)
            self._take_out(request)
            counters.pending -= 1
            counters.last_ended_s = time.monotonic()

    async def drain(self) -> None:
        """Refuse new requests, finish the accepted ones and end the thread."""
        with self._changed:
            self._draining = True
            self._changed.notify()
        if self._thread is not None:
            await self._ended.wait()

    def abandon(self) -> None:
        """Refuse new requests and those that have not begun."""
        with self._changed:
            self._draining = True
            left = list(self._queue)
            self._queue.clear()
            self._queued_texts = 0
            self._changed.notify()
        for request in left:
            _settle(request, ServiceUnavailableError("The service stopped before the request's turn."))

    def _accept(self, request: _Request) -> None:
        count = len(request.texts)
        with self._changed:
            if self._draining:
                raise ServiceUnavailableError("The service is stopping and accepts no more requests.")
            if self._queued_texts + count > self._max_queued_texts:
                self._counters.busy += 1
                raise ServiceBusyError(
                    f"{self._queued_texts} of at most {self._max_queued_texts} texts are waiting already; {count} more "
                    "do not fit. Try again later, or with fewer texts."
                )
            self._queue[request] = None
            self._queued_texts += count
            self._changed.notify()
        self._counters.requests += 1
        self._counters.longest_queue = max(self._counters.longest_queue, self._queued_texts)

    def _take_out(self, request: _Request) -> bool:
        """Remove a request that has not begun; return whether it was there."""
        with self._changed:
            if request not in self._queue:
                return False
            del self._queue[request]
            self._queued_texts -= len(request.texts)
            return True

    def _expire(self, request: _Request) -> None:
        if self._take_out(request):
            _settle(request, _late())

    def _die(self, cause: str) -> None:
        """Answer all waiting requests, refuse new ones, and report that the thread is gone."""
        reason = ServiceUnavailableError(f"The thread that computes has ended: {cause}.")
        for request in self._unanswered:
            _settle(request, reason)
        self.abandon()
        self._ended.set()
        if self._on_death is not None:
            self._on_death(reason)

    # From here on: the thread that computes.

    def _work(self) -> None:
        try:
            while batch := self._wait():
                self._compute(batch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._call(self._die, type(error).__name__)
        else:
            self._call(self._ended.set)

    def _wait(self) -> list[_Request]:
        """Return the next requests to compute together; an empty list once everything is drained."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._draining)
                batch = self._next_batch()
                if batch or (self._draining and not self._queue):
                    return batch

    def _next_batch(self) -> list[_Request]:
        """Take the oldest request, and others of its kind that fit beside it, out of the queue."""
        now_s = time.monotonic()
        batch: list[_Request] = []
        texts = 0
        for request in list(self._queue):
            count = len(request.texts)
            is_late = now_s >= request.deadline_s
            fits = not batch or (request.kind == batch[0].kind and texts + count <= self._max_batch_texts)
            if is_late:
                self._call(_settle, request, _late())
            elif fits:
                batch.append(request)
                texts += count
            if is_late or fits:
                del self._queue[request]
                self._queued_texts -= count
        return batch

    def _compute(self, batch: list[_Request]) -> None:
        texts = [text for request in batch for text in request.texts]
        started_s = time.perf_counter()
        try:
            vectors = self._vectors(texts, batch[0].kind)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            if len(batch) > 1:
                # One request is to blame; the others must not fail with it.
                for request in batch:
                    self._compute([request])
                return
            cause = error.__cause__ or error
            is_damaged = isinstance(cause, ModelCorruptError)
            # Its message names a file. Others may quote a text.
            what = f"{type(cause).__name__}: {cause}" if is_damaged else f"{type(cause).__name__}."
            _log.warning("a request of %d texts failed: %s", len(texts), what)
            self._call(_settle, batch[0], ServiceRefusedError(f"The engine failed: {what}"))
            if is_damaged and self._on_damage is not None:
                self._call(self._on_damage, str(cause))
            return
        self._counters.compute_s += time.perf_counter() - started_s
        self._counters.batches += 1
        self._counters.texts += len(texts)
        answers: list[bytes] = []
        size = len(vectors) // len(texts)
        start = 0
        for request in batch:
            end = start + size * len(request.texts)
            answers.append(vectors[start:end])
            start = end
        # At once: each call wakes the event loop, which takes the interpreter from the next batch.
        self._call(_settle_all, batch, answers)

    def _vectors(self, texts: list[str], kind: "TextKind") -> bytes:
        if self._threads is None:
            return self._embedded(texts, kind)
        self._threads.begin(texts)
        try:
            return self._embedded(texts, kind)
        finally:
            self._threads.end()

    def _embedded(self, texts: list[str], kind: "TextKind") -> bytes:
        provider = self._provider
        if provider.engine_in_use.batch_invariant:
            return provider.embed_texts_bytes(texts, kind, self._max_batch_texts)
        return b"".join([provider.embed_texts_bytes([text], kind, 1) for text in texts])

    def _call(self, function: "Callable[..., object]", *arguments: object) -> None:
        """Have the event loop call something."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # it is closed, and nobody is waiting any more


def _late() -> ServiceTimeoutError:
    return ServiceTimeoutError("The request's turn did not come before its deadline.")


def _settle_all(requests: list[_Request], answers: list[bytes]) -> None:
    for request, answer in zip(requests, answers, strict=True):
        _settle(request, answer)


def _settle(request: _Request, result: bytes | Exception) -> None:
    """Give a request its result, unless its caller has left. Only in the event loop's thread."""
    if request.answer.done():
        return
    if isinstance(result, Exception):
        request.answer.set_exception(result)
    else:
        request.answer.set_result(result)
