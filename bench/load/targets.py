"""What is asked: the model service, or a model in the process of the client.

A target is named ``module:class``, so that a test can name one that gives wrong answers.
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
    """Made once in each client process, with the model's name and the engine's."""

    def __init__(self, model: str, engine: str) -> None:
        """Get ready for ``open``."""

    def open(self) -> Embed:
        """Return a client of its own: takes a text, returns its vector as little-endian float32."""

    def open_batch(self) -> EmbedBatch:
        """Return the same for several texts at a time, which are documents."""

    def facts(self) -> dict[str, str]:
        """Return what computes: ``engine``, ``device``, ``precision``. Something is open."""


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
    """The model service, which the first client starts where none runs; never a model in this process."""

    def __init__(self, model: str, engine: str) -> None:
        self._model, self._engine = model, engine
        self._provider: Any = None

    def open(self) -> Embed:
        """Return a provider of its own."""
        from loader import OptimizedEmbeddingLoader, ServiceOptions

        options = ServiceOptions(start="wait", fallback=False)
        loader = OptimizedEmbeddingLoader(self._model, "service", "cpu", engine=self._engine, service=options)
        self._provider = loader.load(timeout=None)
        embed: Embed = self._provider.embed_query_bytes
        return embed

    def open_batch(self) -> EmbedBatch:
        """Nothing measures it.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("clients of the service ask for one text at a time")

    def facts(self) -> dict[str, str]:
        """Return what the service says of itself."""
        return _facts(self._provider)


def find_target(name: str) -> Callable[[str, str], Target]:
    """Return the class that ``module:class`` names."""
    module, _, attribute = name.partition(":")
    found: Callable[[str, str], Target] = getattr(import_module(module), attribute)
    return found


def _facts(provider: Any) -> dict[str, str]:
    return {name: str(getattr(provider, name, "unknown")) for name in ("engine", "device", "precision")}
