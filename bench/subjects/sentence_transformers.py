"""The reference: plain sentence-transformers, as a user would write it."""

from bench.subjects import LoadsWhenConstructed, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Subject(LoadsWhenConstructed):
    """``SentenceTransformer(name).encode(text)``."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import and construct; there is nothing to start."""
        from sentence_transformers import SentenceTransformer

        mark("imported")
        device = None if self._options["device"] == "auto" else self._options["device"]
        self._require(device)
        if self._options["threads"]:
            import torch

            torch.set_num_threads(int(self._options["threads"]))
        self._model = SentenceTransformer(self._options["reference_model"], device=device)
        mark("constructed")
        mark("started")

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text."""
        vector: Iterable[float] = self._model.encode(text)
        return vector

    def facts(self) -> dict[str, object]:
        """Return facts about what answered."""
        import sentence_transformers
        import torch

        return {
            "engine": "sentence_transformers",
            "precision": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._model.device),
            "dimension": self._model.encode("dimension").shape[0],
            "version": sentence_transformers.__version__,
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
        }

    def _require(self, device: str | None) -> None:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise Unsupported("PyTorch sees no CUDA device")
        if device == "mps" and not torch.backends.mps.is_available():
            raise Unsupported("PyTorch sees no MPS device")
