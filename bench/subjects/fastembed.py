"""A peer: fastembed, on the same model, from local files.

``bench.measure.prepare`` makes the files like those of fastembed's own models: one ONNX file that returns token
vectors, with its weights inside, and the tokenizer's files.
"""

from bench.subjects import LoadsWhenConstructed, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Subject(LoadsWhenConstructed):
    """``next(TextEmbedding(name, specific_model_path=folder).embed([text]))``."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import and construct; there is nothing to start."""
        try:
            from fastembed import TextEmbedding
        except ImportError as error:
            raise Unsupported(f"fastembed cannot be imported: {error}") from error

        mark("imported")
        folder, device = self._options["peer_folder"], self._options["device"]
        if not folder or device not in {"auto", "cpu"}:
            raise Unsupported((folder and f"fastembed is not measured on {device}") or "no ONNX file could be created")
        threads = int(self._options["threads"]) if self._options["threads"] else None
        try:
            self._model = TextEmbedding(self._options["model"], specific_model_path=folder, threads=threads)
        except ValueError as error:  # a model that it does not list
            raise Unsupported(str(error)) from error
        mark("constructed")
        mark("started")

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text."""
        vector: Iterable[float] = next(iter(self._model.embed([text])))
        return vector

    def facts(self) -> dict[str, object]:
        """Return facts about what answered."""
        from importlib.metadata import version

        return {"engine": "fastembed", "precision": "float32", "device": "cpu", "version": version("fastembed")}
