"""A peer: model2vec, a static model distilled from the same model: one vector for each token, and their mean.

It is a different model, whose vectors have another length and are not meant to be the same: see
``bench.data.fidelity.ANOTHER_MODEL``. ``bench.measure.prepare`` makes the folder, or the run's configuration names it.
"""

from bench.subjects import LoadsWhenConstructed, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Subject(LoadsWhenConstructed):
    """``StaticModel.from_pretrained(folder).encode(text)``."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import and construct; there is nothing to start."""
        try:
            from model2vec import StaticModel
        except ImportError as error:
            raise Unsupported(f"model2vec cannot be imported: {error}") from error

        mark("imported")
        folder, device = self._options["static_folder"], self._options["device"]
        if not folder:
            raise Unsupported(self._options.get("static_error") or "no static model could be created")
        if device not in {"auto", "cpu"}:
            raise Unsupported(f"model2vec computes on the CPU, not on {device}")
        self._model = StaticModel.from_pretrained(folder)
        mark("constructed")
        mark("started")

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text."""
        vector: Iterable[float] = self._model.encode(text)
        return vector

    def facts(self) -> dict[str, object]:
        """Return facts about what answered; ``precision`` is that of the stored vectors."""
        from importlib.metadata import version

        return {
            "engine": "model2vec",
            "precision": str(self._model.embedding.dtype),
            "device": "cpu",
            "dimension": self._model.dim,
            "version": version("model2vec"),
        }
