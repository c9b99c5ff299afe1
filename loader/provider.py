"""What callers get once a model is ready, wherever it computes. Importing this module does not import NumPy."""

from .errors import EmbeddingError
from .text.rules import check_batch_size, check_text, check_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from .contract import TextKind

DEFAULT_BATCH_SIZE = 32
"""Texts per run of the model; the default of sentence-transformers."""

WARM_UP_TEXT = "warm up"


class EmbeddingProvider:
    """Turns texts into vectors; thread-safe. ``loader.local_provider`` and ``loader.service.client`` implement it.

    Every vector is float32, L2-normalised (even if the model itself does not normalise) and C-contiguous.
    ``loader.text.rules`` has the rule for empty, non-string, broken and over-long texts; all methods follow it.

    A model may declare prompts for queries and for documents (config_sentence_transformers.json). ``embed_query`` and
    ``embed_query_bytes`` use the first and all other methods the second, like ``encode_query`` and ``encode_document``
    of sentence-transformers.

    Attributes:
        model_name: the requested name.
        precision: ``"float32"``, ...
        dimension: length of a vector.
        max_seq_length: longest sequence in tokens, special tokens included, or None if unlimited.
    """

    model_name: str
    precision: str
    dimension: int
    max_seq_length: int | None

    @property
    def engine(self) -> str:
        """The name of the engine that computes, such as ``"numpy"``; it may change, see ``loader.loading.upgrade``."""
        raise NotImplementedError

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"``, ``"cuda:0"``, ``"mps:0"``, ...; it may change with the engine."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.model_name!a} engine={self.engine} device={self.device} "
            f"precision={self.precision} dimension={self.dimension}>"
        )

    def embed_query(self, text: str) -> "NDArray[np.float32]":
        """Return the vector of a search query, shape (dimension,).

        Raises:
            ArgumentTypeError, TextError: see ``loader.text.rules``.
            EmbeddingError: the engine failed, the model has no vector for the text, or the weights file was changed in
                place, which is checked before each run of the model (the cause is then a ModelCorruptError).
            ServiceError: the model service failed, and ``ServiceOptions(fallback=False)`` forbids computing here.
            ModelError, EngineError: the model service failed, and the model could not be loaded into this process.
            ForkError: the model was loaded before ``fork``, and this is the child.
            ShutdownError: the interpreter is exiting, and this is not the main thread.
            ModelCorruptError: the check after the load found weights that differ from those the model package was
                published with.
        """
        vector: NDArray[np.float32] = self._embed([check_text(text)], "query", 1)[0]
        return vector

    def embed_query_bytes(self, text: str) -> bytes:
        """Return the vector of a search query as little-endian float32, dimension x 4 bytes.

        For programs that store or send vectors, and for those that avoid importing NumPy: with the engine ``native``
        and with a model service, no method that returns bytes imports it. ``array.array("f", data)`` reads the bytes on
        little-endian machines, and ``loader.top_k`` takes them as they are. Raises as ``embed_query``.
        """
        return self._embed_bytes([check_text(text)], "query", 1)

    def embed_chunk(self, text: str) -> "NDArray[np.float32]":
        """Return the vector of a piece of a document, shape (dimension,). Raises as ``embed_query``."""
        vector: NDArray[np.float32] = self._embed([check_text(text)], "document", 1)[0]
        return vector

    def embed_chunk_bytes(self, text: str) -> bytes:
        """Return the vector of a piece of a document, as ``embed_query_bytes`` does. Raises as ``embed_query``."""
        return self._embed_bytes([check_text(text)], "document", 1)

    def embed_batch(self, texts: "Iterable[str]", batch_size: int = DEFAULT_BATCH_SIZE) -> "NDArray[np.float32]":
        """Return the vectors of several texts, shape (number of texts, dimension), in their order.

        Args:
            texts: any iterable of strings; an empty one gives shape (0, dimension).
            batch_size: texts per run of the model.

        Raises:
            ArgumentValueError: ``batch_size`` is below 1.
            Others as ``embed_query``; the message gives the index of an invalid text, and nothing is embedded then.
        """
        size = check_batch_size(batch_size)
        return self.embed_texts(_checked(texts), "document", size)

    def embed_batch_bytes(self, texts: "Iterable[str]", batch_size: int = DEFAULT_BATCH_SIZE) -> bytes:
        """Return the vectors of several texts one after the other, as ``embed_query_bytes`` does.

        Args:
            texts: any iterable of strings; an empty one gives no bytes.
            batch_size: texts per run of the model.

        Raises:
            As ``embed_batch``.
        """
        size = check_batch_size(batch_size)
        return self.embed_texts_bytes(_checked(texts), "document", size)

    def embed_texts_bytes(self, texts: list[str], kind: "TextKind", batch_size: int) -> bytes:
        """Return the vectors of texts that are already checked, little-endian float32, one after the other."""
        return self._embed_bytes(texts, kind, batch_size) if texts else b""

    def embed_texts(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of texts that are already checked, shape (texts, dimension)."""
        if not texts:
            import numpy as np

            return np.empty((0, self.dimension), dtype=np.float32)
        return self._embed(texts, kind, batch_size)

    def embed_stream(
        self, texts: "Iterable[str]", batch_size: int = DEFAULT_BATCH_SIZE
    ) -> "Iterator[NDArray[np.float32]]":
        """Yield the vector of each text, shape (dimension,), in order, holding ``batch_size`` texts at a time.

        Works on an endless iterable. Arguments are checked at the call, texts as they are read. Before an error for an
        invalid text, or from the iterable, the vectors of all texts before it are yielded.

        Args:
            texts: any iterable of strings.
            batch_size: texts per run of the model.

        Raises:
            ArgumentValueError: ``batch_size`` is below 1.
            Others as ``embed_query``; the message gives the index of an invalid text.
        """
        return self._stream(iter(check_texts(texts)), check_batch_size(batch_size))

    def usable_here(self) -> bool:
        """Whether this process may use the provider: not every engine survives a fork."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """Embed a dummy text, so that the first real one does not pay for the engine's lazy initialisation.

        Raises as ``embed_query``.
        """
        self._embed_bytes([WARM_UP_TEXT], "query", 1)

    def _stream(self, texts: "Iterator[str]", size: int) -> "Iterator[NDArray[np.float32]]":
        from itertools import islice

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
            try:
                vectors: Iterable[NDArray[np.float32]] = self.embed_texts(batch, "document", size)
            except EmbeddingError:
                # One text is to blame: those before it still get their vectors.
                vectors = (self.embed_texts([text], "document", 1)[0] for text in batch)
            # Copies: a row that the caller keeps must not keep its whole batch alive.
            for vector in vectors:
                yield vector.copy()
        raise failure

    def _embed(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of at least one checked text, shape (texts, dimension)."""
        raise NotImplementedError

    def _embed_bytes(self, texts: list[str], kind: "TextKind", batch_size: int) -> bytes:
        """Return the same as little-endian float32."""
        raise NotImplementedError


def _checked(texts: "Iterable[str]") -> list[str]:
    return [check_text(text, f"texts[{index}]") for index, text in enumerate(check_texts(texts))]
