"""The place of a model that may not be loaded yet."""

import asyncio
from typing import TYPE_CHECKING, Literal

from ...errors import ServiceUnavailableError

if TYPE_CHECKING:
    from ...local_provider import LocalProvider
    from .batcher import Batcher


class Slot:
    """Filled by a load, if it succeeds. For one event loop.

    Attributes:
        batcher, provider: what computes; None before the model is ready.
        error: why it will never be ready, or None.
    """

    def __init__(self) -> None:
        self.batcher: Batcher | None = None
        self.provider: LocalProvider | None = None
        self.error: Exception | None = None
        self._decided = asyncio.Event()

    @property
    def state(self) -> 'Literal["loading", "ready", "failed"]':
        """The state of the load."""
        return "failed" if self.error else "ready" if self.batcher else "loading"

    def fill(self, batcher: "Batcher", provider: "LocalProvider") -> None:
        """Make the model available."""
        self.batcher, self.provider = batcher, provider
        self._decided.set()

    def fail(self, error: Exception) -> None:
        """Tell all waiting callers, now and later, that there is no model."""
        self.error = error
        self._decided.set()

    async def wait(self) -> "tuple[Batcher, LocalProvider]":
        """Return batcher and provider, once they are ready.

        Raises:
            Exception: what ``fail`` was given.
        """
        await self._decided.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.batcher is None or self.provider is None:
            raise ServiceUnavailableError("The service has no model.")
        return self.batcher, self.provider
