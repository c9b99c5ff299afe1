"""Who answers: the model service, or a model in the client's process.

A target is named ``module:class``, so that a test can use one that gives wrong answers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.load.checking import DTYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Embed = Callable[[str], bytes]
    EmbedBatch = Callable[[Sequence[str]], list[bytes]]

SERVICE = "bench.load.targets:Service"
IN_PROCESS = "bench.load.targets:InProcess"


class Target(Protocol):
    """Created once in each client process, with the names of the model and the engine."""

    def __init__(self, model: str, engine: str) -> None:
        """Get ready for ``open``."""

    def open(self) -> Embed:
        """Return a new client: a function from a text to its vector as little-endian float32."""

    def open_batch(self) -> EmbedBatch:
        """Return the same for several documents at a time."""

    def facts(self) -> dict[str, str]:
        """Return what computes: ``engine``, ``device``, ``precision``. Call it after ``open``."""


class InProcess:
    """One model in this process, used by all of its threads."""

    def __init__(self, model: str, engine: str) -> None:
        from loader import OptimizedEmbeddingLoader

        self._provider = OptimizedEmbeddingLoader(model, "lazy", "cpu", engine=engine, compile="now").load(timeout=None)

    def open(self) -> Embed:
        """Return the same model for every client."""
        embed_query = self._provider.embed_query
        return lambda text: embed_query(text).astype(DTYPE, copy=False).tobytes()

    def open_batch(self) -> EmbedBatch:
        """Return the model's own batches."""
        embed_batch = self._provider.embed_batch

        def embed(texts: Sequence[str]) -> list[bytes]:
            vectors = embed_batch(texts, batch_size=len(texts))
            return [vector.tobytes() for vector in np.ascontiguousarray(vectors, DTYPE)]

        return embed

    def facts(self) -> dict[str, str]:
        """Return what computes."""
        return _facts(self._provider)


class Service:
    """The model service, which the first client starts if none runs; never a model in this process."""

    def __init__(self, model: str, engine: str) -> None:
        self._model, self._engine = model, engine
        self._provider: Any = None

    def open(self) -> Embed:
        """Return a new provider."""
        from loader import OptimizedEmbeddingLoader, ServiceOptions

        options = ServiceOptions(start="wait", fallback=False)
        loader = OptimizedEmbeddingLoader(self._model, "service", "cpu", engine=self._engine, service=options)
        self._provider = loader.load(timeout=None)
        embed: Embed = self._provider.embed_query_bytes
        return embed

    def open_batch(self) -> EmbedBatch:
        """Not used: no phase measures it.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("clients of the service ask for one text at a time")

    def facts(self) -> dict[str, str]:
        """Return what the service reports about itself."""
        return _facts(self._provider)


def find_target(name: str) -> Callable[[str, str], Target]:
    """Return the class that ``module:class`` names."""
    module, _, attribute = name.partition(":")
    found: Callable[[str, str], Target] = getattr(import_module(module), attribute)
    return found


def _facts(provider: Any) -> dict[str, str]:
    return {name: str(getattr(provider, name, "unknown")) for name in ("engine", "device", "precision")}
