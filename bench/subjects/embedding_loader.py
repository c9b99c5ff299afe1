"""Our own loader, used as its documentation says."""

from bench.subjects import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loader import EmbeddingProvider


class Subject:
    """One strategy of ``OptimizedEmbeddingLoader``."""

    def __init__(self, options: "Mapping[str, str]") -> None:
        self._options = options

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import, construct, start."""
        from loader import LoadingStrategy, OptimizedEmbeddingLoader

        mark("imported")
        options = self._options
        self._loader = OptimizedEmbeddingLoader(
            options["model"],
            LoadingStrategy(options["strategy"]),
            None if options["device"] == "auto" else options["device"],
            engine=options["engine"],
            threads=int(options["threads"]) if options["threads"] else None,
        )
        mark("constructed")
        self._loader.start_loading()
        mark("started")

    def wait_until_ready(self) -> bool:
        """Wait where the strategy loads by itself."""
        if not self._loader.is_loading() and not self._loader.is_loaded():
            return False
        self._provide()
        return True

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text."""
        return self._provide().embed_query(text)

    def facts(self) -> dict[str, object]:
        """Return what answered."""
        from loader import __version__

        provider = self._provide()
        return {
            "engine": provider.engine,
            "precision": provider.precision,
            "device": provider.device,
            "dimension": provider.dimension,
            "version": __version__,
        }

    def _provide(self) -> "EmbeddingProvider":
        from loader import DeviceError, EngineMissingError

        try:
            return self._loader.load(timeout=None)
        except (DeviceError, EngineMissingError) as error:
            raise Unsupported(str(error)) from error
