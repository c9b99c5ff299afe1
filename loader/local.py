"""A provider whose model is in this process."""

import numpy as np

from .errors import EmbeddingError, ForkError, ShutdownError, release_frames
from .exitgate import GATE, LoadInterrupted
from .forks import in_forked_child, process_token
from .log import log
from .provider import EmbeddingProvider

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .engines.base import Engine, TextKind

    Watcher = Callable[["LocalProvider", int], None]

TEXTS_PER_RUN = 1024
"""Texts that an engine gets at a time: enough to sort them by length, few enough for another engine to take over."""


class LocalProvider(EmbeddingProvider):
    """Computes with an engine of this process.

    Args:
        model_name: the name that was asked for.
        engine: the loaded model.
    """

    def __init__(self, model_name: str, engine: "Engine") -> None:
        self._engine = engine
        self._process = process_token()
        self._watcher: Watcher | None = None
        self._refused: Exception | None = None
        self._after_first_run: Callable[[], object] | None = None
        self.model_name = model_name
        self.precision = engine.precision
        self.dimension = engine.dimension
        self.max_seq_length = engine.max_seq_length

    @property
    def engine(self) -> str:
        """The name of the engine that computes, such as ``"numpy"``; it may change, see ``loader.upgrade``."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"``, ``"cuda:0"``, ``"mps:0"``, ...; it may change with the engine."""
        return self._engine.device

    @property
    def engine_in_use(self) -> "Engine":
        """The engine itself. Its vectors are not normalised, and its texts are not checked."""
        return self._engine

    def usable_here(self) -> bool:
        """Whether this process may use it: False in a child forked after the load, unless the engine allows it."""
        return self._engine.fork_safe or not in_forked_child(self._process)

    def refuse(self, error: Exception) -> None:
        """Embed nothing any more: the model turned out to be damaged. Every call raises the error from now on."""
        self._refused = error
        log("error", "%s", error)

    def after_first_run(self, callback: "Callable[[], object]") -> None:
        """Have ``callback()`` called once, after the first texts were embedded."""
        self._after_first_run = callback

    def watch(self, watcher: "Watcher | None") -> None:
        """Have ``watcher(provider, number of texts)`` called after each run, or nothing any more."""
        self._watcher = watcher

    def change_engine(self, engine: "Engine") -> None:
        """Compute with another engine from the next run on; its vectors must be interchangeable."""
        self._engine = engine

    def _embed(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        if not self.usable_here():
            raise ForkError(
                f"{self.model_name} was loaded before fork() and its engine {self.engine} cannot be used in the child "
                "process. Load it in the child, or start processes with the 'spawn' or 'forkserver' method."
            )
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        with GATE.section():
            if len(texts) <= TEXTS_PER_RUN:
                return self._run(texts, kind, batch_size)
            runs = range(0, len(texts), TEXTS_PER_RUN)
            return np.concatenate([self._run(texts[start : start + TEXTS_PER_RUN], kind, batch_size) for start in runs])

    def _run(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        engine = self._engine
        vectors = self._normalised(engine, self._encode(engine, texts, kind, batch_size), len(texts))
        if self._watcher is not None:
            self._watcher(self, len(texts))
        if self._after_first_run is not None:
            callback, self._after_first_run = self._after_first_run, None
            callback()
        return vectors

    def _encode(self, engine: "Engine", texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the engine's vectors; errors leave without the engine's objects, see ``loader.load``."""
        try:
            return engine.encode(texts, kind, batch_size)
        except LoadInterrupted as error:
            release_frames(error)
            raise ShutdownError("The interpreter is exiting; nothing is embedded any more.") from None
        except Exception as error:
            release_frames(error)
            raise EmbeddingError(f"The engine {engine.name} failed while embedding: {error}") from error

    def _normalised(self, engine: "Engine", vectors: "NDArray[np.float32]", count: int) -> "NDArray[np.float32]":
        """Return float32, C-contiguous rows of unit length; refuse what cannot be one."""
        if vectors.shape != (count, self.dimension):
            raise EmbeddingError(
                f"The engine {engine.name} returned shape {vectors.shape} where {(count, self.dimension)} was expected."
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths) & (lengths > 0.0)):
            raise EmbeddingError(
                f"The engine {engine.name} returned a vector that is zero or not finite. Are the weights damaged?"
            )
        return np.ascontiguousarray(vectors / lengths, dtype=np.float32)
