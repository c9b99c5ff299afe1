"""A provider whose model is in this process."""

from .errors import EmbeddingError, ForkError, ShutdownError, is_panic, release_frames
from .exit_gate import GATE, LoadInterrupted
from .forks import in_forked_child, process_token
from .provider import EmbeddingProvider
from .runtime.log import log
from .vectors import as_array, joined, normalised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from .contract import Engine, TextKind, Vectors

    Watcher = Callable[["LocalProvider", int], None]

TEXTS_PER_RUN = 1024
"""Texts per call of an engine: enough to sort them by length, few enough for another engine to take over."""
BULK_TEXTS = 512
"""Texts after which a program counts as one that embeds many."""
_SHOWN_CHARACTERS = 40


class LocalProvider(EmbeddingProvider):
    """Computes with an engine in this process.

    Args:
        model_name: the requested name.
        engine: the loaded model.
    """

    def __init__(self, model_name: str, engine: "Engine") -> None:
        self._engine = engine
        self._process = process_token()
        self._watcher: Watcher | None = None
        self._texts = 0
        self._refused: Exception | None = None
        self._after_first_run: tuple[Callable[[], object], ...] = ()
        self.model_name = model_name
        self.precision = engine.precision
        self.dimension = engine.dimension
        self.max_seq_length = engine.max_seq_length

    @property
    def engine(self) -> str:
        """The name of the engine that computes, such as ``"numpy"``; it may change, see ``loader.loading.upgrade``."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"``, ``"cuda:0"``, ``"mps:0"``, ...; it may change with the engine."""
        return self._engine.device

    @property
    def engine_in_use(self) -> "Engine":
        """The engine itself. It does not normalise vectors or check texts."""
        return self._engine

    def usable_here(self) -> bool:
        """Whether this process may use it: False in a child forked after the load, unless the engine is fork-safe."""
        return self._engine.fork_safe or not in_forked_child(self._process)

    def refuse(self, error: Exception) -> None:
        """Stop embedding, because the model is damaged. Every call raises the error from now on."""
        self._refused = error
        log("error", "%s", error)

    def after_first_run(self, callback: "Callable[[], object]") -> None:
        """Call ``callback()`` once, after the first texts are embedded."""
        self._after_first_run += (callback,)

    def watch(self, watcher: "Watcher | None") -> None:
        """Call ``watcher(provider, texts so far)`` after each run, from ``BULK_TEXTS`` texts on; None stops that."""
        self._watcher = watcher

    def change_engine(self, engine: "Engine") -> None:
        """Use another engine from the next run on; its vectors must be interchangeable."""
        self._engine = engine

    def _embed(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        vectors = self._vectors(texts, kind, batch_size)
        if not isinstance(vectors, bytearray):
            return vectors
        with GATE.section():  # an import in progress while another thread forks would never end in the child
            return as_array(vectors, self.dimension)

    def _embed_bytes(self, texts: list[str], kind: "TextKind", batch_size: int) -> bytes:
        vectors = self._vectors(texts, kind, batch_size)
        if isinstance(vectors, bytearray):
            return bytes(vectors)
        return bytes(vectors.astype("<f4", copy=False).tobytes())

    def _vectors(self, texts: list[str], kind: "TextKind", batch_size: int) -> "Vectors":
        """Return the normalised vectors of the texts."""
        if not self.usable_here():
            raise ForkError(
                f"{self.model_name} was loaded before fork(), and its engine {self.engine} cannot be used in the child "
                "process. Load it in the child, or start processes with the 'spawn' or 'forkserver' method."
            )
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        with GATE.section():
            if len(texts) <= TEXTS_PER_RUN:
                return self._run(texts, 0, kind, batch_size)
            runs = range(0, len(texts), TEXTS_PER_RUN)
            return joined([self._run(texts, start, kind, batch_size) for start in runs])

    def _run(self, texts: list[str], start: int, kind: "TextKind", batch_size: int) -> "Vectors":
        """Return the vectors of one run, which begins at ``texts[start]``."""
        engine = self._engine
        run = texts if len(texts) <= TEXTS_PER_RUN else texts[start : start + TEXTS_PER_RUN]
        vectors = self._encode(engine, run, kind, batch_size)
        self._check_size(engine, vectors, len(run))
        vectors, unusable = normalised(vectors, self.dimension)
        if unusable is not None:
            if unusable.is_zero:
                raise _without_vector(texts, start + unusable.index)
            raise EmbeddingError(
                f"The engine {engine.name} returned a vector that is not finite. Are the weights damaged?"
            )
        self._texts += len(run)
        if self._watcher is not None and self._texts >= BULK_TEXTS:
            self._watcher(self, self._texts)
        if self._after_first_run:
            callbacks, self._after_first_run = self._after_first_run, ()
            for callback in callbacks:
                callback()
        return vectors

    def _encode(self, engine: "Engine", texts: list[str], kind: "TextKind", batch_size: int) -> "Vectors":
        """Return the engine's vectors. Errors do not hold the engine's objects; see ``loader.load_thread``."""
        try:
            return engine.encode(texts, kind, batch_size)
        except LoadInterrupted as error:
            release_frames(error)
            raise ShutdownError("The interpreter is exiting; nothing can be embedded now.") from None
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise  # such as KeyboardInterrupt
            release_frames(error)
            raise EmbeddingError(f"The engine {engine.name} failed while embedding: {error}") from error

    def _check_size(self, engine: "Engine", vectors: "Vectors", count: int) -> None:
        if isinstance(vectors, bytearray):
            found: tuple[int, ...] = (len(vectors),)
            expected: tuple[int, ...] = (4 * count * self.dimension,)
        else:
            found, expected = vectors.shape, (count, self.dimension)
        if found != expected:
            raise EmbeddingError(f"The engine {engine.name} returned shape {found}; expected {expected}.")


def _without_vector(texts: list[str], index: int) -> EmbeddingError:
    """Return the error for a text whose vector is all zeros and so has no direction."""
    text = texts[index]
    where = f"texts[{index}]" if len(texts) > 1 else "the text"
    shown = f"{text!a}" if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!a}..."
    why = (
        "it is empty, and this model adds no special tokens"
        if not text.strip()
        else "its tokenizer knows none of it, or the vectors of all its tokens are zero"
    )
    return EmbeddingError(f"The model has no vector for {where} ({shown}): {why}. Leave such texts out.")
