"""The process: sockets first, then the models, then requests until there is a reason to exit.

At the end, in this order: the sockets' names are given up, so that new callers start a new service; no more connections
or requests are accepted; accepted requests are answered, within ``STOP_WITHIN_S``; everything is closed.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...core import loader_of
from ...errors import LoaderError, ModelLoadError, ServiceUnavailableError
from ...local_provider import LocalProvider
from ...version import __version__
from ..options import IDLE_TIMEOUT_S
from .batcher import MAX_QUEUED_TEXTS, Batcher
from .counters import Counters
from .exit_watch import CHECK_EVERY_S, ExitWatch, memory_bytes
from .listener import ModelServer
from .room import Room
from .slot import Slot
from .threads import matrix_threads

if TYPE_CHECKING:
    import _socket

    from ...arguments import Settings

    Extra = Callable[[dict[str, tuple[Batcher, LocalProvider]]], Awaitable[object]]

_log = logging.getLogger("loader.service")

STOP_WITHIN_S: Final = 10.0
"""Longest time for accepted requests at the end."""


class ServedIdentity(Protocol):
    """What a caller must request."""

    @property
    def text(self) -> str:
        """The whole identity, as HELLO has it."""

    @property
    def name(self) -> str:
        """A unique name for it."""

    def changed(self) -> bool:
        """Whether the model's files have changed."""


class ServedClaim(Protocol):
    """The right to serve, and the socket for it."""

    @property
    def listener(self) -> "_socket.socket":
        """The listening socket."""

    def mend(self) -> bool:
        """Make sure that callers find the socket; return whether it was replaced.

        Raises:
            ServiceUnavailableError: it cannot be repaired.
        """

    def release(self) -> None:
        """Remove the socket's name and let others claim it; idempotent."""


@dataclass(frozen=True)
class ServedModel:
    """One model to serve.

    Attributes:
        settings: what to load.
        identity: what its callers request.
        claim: the claim on its socket.
    """

    settings: "Settings"
    identity: ServedIdentity
    claim: ServedClaim


@dataclass(frozen=True)
class ServeOptions:
    """How long to serve, and how much to take on.

    Attributes:
        idle_timeout: see ``loader.service.options.ServiceOptions``, in seconds.
        max_memory_mb: see there, in MiB.
        max_queued_texts: texts that may wait for a model.
        arguments: the arguments of ``serve`` that start the same service again.
    """

    idle_timeout: float = IDLE_TIMEOUT_S
    max_memory_mb: float | None = None
    max_queued_texts: int = MAX_QUEUED_TEXTS
    arguments: tuple[str, ...] = ()


def serve(
    models: Sequence[ServedModel], options: ServeOptions, *, extra: "Extra | None" = None, room: Room | None = None
) -> str:
    """Serve until there is a reason to exit, and return it. Stops on SIGTERM and SIGINT in the main thread.

    Args:
        models: at least one; their claims are released in any case.
        options: limits.
        extra: called once loading has finished, with batcher and provider of each model by its identity's name; the
            result is awaited beside the sockets, cancelled at the end, and then has ``STOP_WITHIN_S`` left.
        room: for the bytes of requests and answers of all models; None for a separate one.

    Raises:
        LoaderError: no model could be loaded, a computing thread has ended, or ``extra`` has failed.
    """
    service = _Service(models, options, extra, room or Room())
    reason = asyncio.run(service.run())
    if service.failure is not None:
        raise service.failure
    return reason


class _Model:
    """A model, and what serves it."""

    def __init__(self, served: ServedModel, service: "_Service") -> None:
        self.served = served
        self.name = served.identity.name
        self.slot = Slot()
        self.counters = Counters()
        self.server = ModelServer(
            served.claim.listener,
            served.identity.text,
            self.slot,
            self.counters,
            lambda: service.report(self),
            service.stop,
            room=service.room,
        )

    def load(self) -> LocalProvider:
        """Load it and wait for it. Raises LoaderError."""
        provider = loader_of(self.served.settings.here()).load(timeout=None)
        if not isinstance(provider, LocalProvider):
            raise ModelLoadError(f"A service must compute itself, but it was given a {type(provider).__name__}.")
        provider.warm_up()
        return provider


class _Service:
    def __init__(self, models: Sequence[ServedModel], options: ServeOptions, extra: "Extra | None", room: Room) -> None:
        self.room = room
        self._served = models
        self._options = options
        self._extra = extra
        self._models: list[_Model] = []
        self._is_stopping = False
        self.failure: LoaderError | None = None

    async def run(self) -> str:
        self._loop = asyncio.get_running_loop()
        self._reason: asyncio.Future[str] = self._loop.create_future()
        self._beside: list[asyncio.Task[object]] = []
        self._handle_signals()
        try:
            self._models = [_Model(served, self) for served in self._served]
            for model in self._models:
                await model.server.start()
                threading.Thread(target=self._load, args=(model,), name="service-load", daemon=True).start()
            self._beside.append(self._loop.create_task(self._until(self._lost())))
            _log.info("process %d starts serving %s", os.getpid(), ", ".join(model.name for model in self._models))
            return await self._reason
        finally:
            await self._end()

    def stop(self, reason: str) -> None:
        """Exit soon; the first reason counts."""
        if not self._reason.done():
            self._reason.set_result(reason)

    def _fail(self, error: LoaderError) -> None:
        """Exit soon and have ``serve`` raise the error, unless there is already a reason."""
        if not self._reason.done():
            self.failure = error
            self.stop(str(error))

    def report(self, model: _Model) -> dict[str, Any]:
        """Return the answer to STATUS."""
        provider, batcher = model.slot.provider, model.slot.batcher
        return {
            "pid": os.getpid(),
            "version": __version__,
            "name": model.served.identity.name,
            "model": model.served.settings.model_name,
            "state": "stopping" if self._is_stopping or self._reason.done() else model.slot.state,
            "engine": provider.engine if provider else None,
            "device": provider.device if provider else None,
            "precision": provider.precision if provider else model.served.settings.precision,
            "dimension": provider.dimension if provider else None,
            "idle_timeout_s": self._options.idle_timeout,
            "arguments": list(self._options.arguments),
            "memory_bytes": memory_bytes()[1],
            "queued_texts": batcher.queued_texts if batcher else 0,
            "counters": model.counters.as_dict(),
        }

    def _handle_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self.stop, f"signal {number.name}")

    def _load(self, model: _Model) -> None:
        """Wait for one load, in its own thread."""
        try:
            provider = model.load()
        except LoaderError as error:
            self._call(self._failed, model, error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            failure = ModelLoadError(f"The load failed: {type(error).__name__}: {error}")
            self._call(self._failed, model, failure)
        else:
            self._call(self._loaded, model, provider)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the event loop call something; if that fails, the service exits instead of going on half-working."""

        def call() -> None:
            try:
                function(*arguments)
            except Exception as error:  # noqa: BLE001 - for instance no thread can be started any more
                self._cannot_go_on(error)

        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the service has ended in the meantime

    def _loaded(self, model: _Model, provider: LocalProvider) -> None:
        if self._is_stopping:
            return
        batcher = Batcher(
            provider,
            model.counters,
            max_queued_texts=self._options.max_queued_texts,
            threads=matrix_threads(provider, model.served.settings.threads),
            on_death=partial(self._died, model),
            on_damage=self.stop,
        )
        batcher.start()
        model.slot.fill(batcher, provider)
        _log.info("%s is ready: %s on %s in %s", model.name, provider.engine, provider.device, provider.precision)
        self._go_on()

    def _died(self, model: _Model, error: LoaderError) -> None:
        """Exit: without its thread a model answers nobody, and the next caller gets a new service."""
        model.slot.fail(error)
        self._fail(error)

    def _failed(self, model: _Model, error: LoaderError) -> None:
        if self._is_stopping:
            return
        model.slot.fail(error)
        _log.error("%s cannot be loaded: %s", model.name, error)
        if all(other.slot.state == "failed" for other in self._models):
            self._fail(error)
        self._go_on()

    def _go_on(self) -> None:
        """Start watching for reasons to exit and running ``extra``, once nothing is loading any more."""
        if self._reason.done() or any(model.slot.state == "loading" for model in self._models):
            return
        ready = [model for model in self._models if model.slot.state == "ready"]
        megabytes = self._options.max_memory_mb
        watch = ExitWatch(
            [model.counters for model in ready],
            idle_timeout_s=self._options.idle_timeout,
            max_memory_bytes=None if megabytes is None else int(megabytes * 2**20),
            changed=[model.served.identity.changed for model in ready],
        )
        self._beside.append(self._loop.create_task(self._until(watch.reached())))
        if self._extra is not None:
            parts = {model.name: (model.slot.batcher, model.slot.provider) for model in ready}
            extra = self._extra({name: (b, p) for name, (b, p) in parts.items() if b is not None and p is not None})
            self._beside.append(self._loop.create_task(self._until(extra)))

    async def _lost(self) -> str:
        """Repair the names by which callers find the models, as long as possible; then return why it is not."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                for model in self._models:
                    if model.served.claim.mend():
                        _log.warning("%s had lost its socket, which was replaced", model.name)
                        await model.server.listen_at(model.served.claim.listener)
            except ServiceUnavailableError as error:
                return str(error)

    async def _until(self, work: Awaitable[object]) -> None:
        """Stop the service when this ends."""
        try:
            result = await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it may come from anywhere
            self._cannot_go_on(error)
        else:
            self.stop(str(result))

    def _cannot_go_on(self, error: BaseException) -> None:
        _log.error("the service cannot go on: %s: %s", type(error).__name__, error)
        if not isinstance(error, LoaderError):
            error = ServiceUnavailableError(f"The service cannot go on: {type(error).__name__}: {error}")
        self._fail(error)

    async def _end(self) -> None:
        self._is_stopping = True
        for served in self._served:
            served.claim.release()
        for model in self._models:
            if model.slot.state == "loading":
                model.slot.fail(self.failure or ServiceUnavailableError("The service is stopping."))
            model.server.stop_accepting()
        batchers = [model.slot.batcher for model in self._models if model.slot.batcher]
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                for task in self._beside:
                    task.cancel()
                await asyncio.gather(*self._beside, *(batcher.drain() for batcher in batchers), return_exceptions=True)
                for model in self._models:
                    await model.server.finish()
        except TimeoutError:
            _log.warning("not all requests were answered within %g s", STOP_WITHIN_S)
            for batcher in batchers:
                batcher.abandon()
        for model in self._models:
            await model.server.close()
        reason = self._reason.result() if self._reason.done() and not self._reason.cancelled() else "an error"
        _log.info("process %d exits: %s", os.getpid(), reason)
