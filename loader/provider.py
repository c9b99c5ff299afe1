"""What the user holds once a model is ready."""

from itertools import islice

import numpy as np

from .errors import EmbeddingError, ForkError, ShutdownError, release_frames
from .exitgate import GATE, LoadInterrupted
from .forks import in_forked_child, process_token
from .log import log
from .texts import check_batch_size, check_text, check_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from .engines.base import Engine, TextKind

    Watcher = Callable[["EmbeddingProvider", int], None]

DEFAULT_BATCH_SIZE = 32
"""Texts per run of the model; the default of sentence-transformers."""

TEXTS_PER_RUN = 1024
"""Texts that an engine gets at a time: enough to sort them by length, few enough for another engine to take over."""

WARM_UP_TEXT = "warm up"


class EmbeddingProvider:
    """Turns texts into vectors. Thread-safe.

    Every vector is float32, L2-normalised (also where the model itself does not normalise) and C-contiguous. The
    rule for empty, non-string, broken and over-long texts is in ``loader.texts`` and the same in all methods.

    A model may declare prompts for queries and for documents (config_sentence_transformers.json). ``embed_query`` uses
    the first, all other methods the second, like ``encode_query`` and ``encode_document`` of sentence-transformers.

    Attributes:
        model_name: the name that was asked for.
        precision: ``"float32"``, ...
        dimension: length of a vector.
        max_seq_length: longest sequence in tokens, special tokens included, or None if unlimited.
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

    def __repr__(self) -> str:
        return (
            f"<EmbeddingProvider {self.model_name!r} engine={self.engine} device={self.device} "
            f"precision={self.precision} dimension={self.dimension}>"
        )

    def embed_query(self, text: str) -> "NDArray[np.float32]":
        """Return the vector of a search query, shape (dimension,).

        Raises:
            ArgumentTypeError, TextError: see ``loader.texts``.
            EmbeddingError: the engine failed.
            ForkError: the model was loaded before ``fork``, and this is the child.
            ModelCorruptError: it turned out since that the weights are not the ones that the package was published
                with.
        """
        vector: NDArray[np.float32] = self._embed([check_text(text)], "query", 1)[0]
        return vector

    def embed_chunk(self, text: str) -> "NDArray[np.float32]":
        """Return the vector of a piece of a document, shape (dimension,). Raises as ``embed_query``."""
        vector: NDArray[np.float32] = self._embed([check_text(text)], "document", 1)[0]
        return vector

    def embed_batch(self, texts: "Iterable[str]", batch_size: int = DEFAULT_BATCH_SIZE) -> "NDArray[np.float32]":
        """Return the vectors of several texts, shape (number of texts, dimension), in their order.

        Args:
            texts: any iterable of strings; an empty one gives shape (0, dimension).
            batch_size: texts per run of the model.

        Raises:
            ArgumentTypeError, ArgumentValueError, TextError, EmbeddingError, ForkError: as ``embed_query``; a text
                is named by its index, and nothing is embedded if one is refused.
        """
        size = check_batch_size(batch_size)
        checked = [check_text(text, f"texts[{index}]") for index, text in enumerate(check_texts(texts))]
        return self._embed(checked, "document", size)

    def embed_stream(
        self, texts: "Iterable[str]", batch_size: int = DEFAULT_BATCH_SIZE
    ) -> "Iterator[NDArray[np.float32]]":
        """Yield the vector of each text, shape (dimension,), in order, holding ``batch_size`` texts at a time.

        Works on an endless iterable. Arguments are checked at the call, texts as they are read: the vectors of all
        texts before a refused one, or before an error of the iterable itself, are yielded first.

        Raises:
            ArgumentTypeError, ArgumentValueError, TextError, EmbeddingError, ForkError: as ``embed_query``.
        """
        return self._stream(iter(check_texts(texts)), check_batch_size(batch_size))

    def usable_here(self) -> bool:
        """Whether this process may use it: False in a child forked after the load, unless the engine allows it."""
        return self._engine.fork_safe or not in_forked_child(self._process)

    def warm_up(self) -> None:
        """Embed a dummy text, so that the first real one does not pay for the engine's lazy initialisation."""
        self._embed([WARM_UP_TEXT], "query", 1)

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

    def _stream(self, texts: "Iterator[str]", size: int) -> "Iterator[NDArray[np.float32]]":
        index = 0
        failure: Exception | None = None
        while failure is None:
            batch: list[str] = []
            try:
                for text in islice(texts, size):
                    batch.append(check_text(text, f"texts[{index}]"))
                    index += 1
            except Exception as error:  # noqa: BLE001 - raised again below, after what came before it
                failure = error
            if not batch and failure is None:
                return
            # Copies: a row that somebody keeps must not keep its whole batch alive.
            for vector in self._embed(batch, "document", size):
                yield vector.copy()
        raise failure

    def _embed(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
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
