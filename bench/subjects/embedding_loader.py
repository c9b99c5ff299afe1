"""Our own loader, used as documented."""

from bench.subjects import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loader import EmbeddingProvider


class Refusals:
    """A context that turns the loader's errors about what it cannot do here into ``Unsupported``.

    A class, because contextlib would be one more import in the timed process.
    """

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: object, error: "BaseException | None", traceback: object) -> None:
        """Raise ``Unsupported`` for an engine, device or precision that is not offered or not installed."""
        if error is None:
            return
        from loader import ArgumentValueError, DeviceError, EngineMissingError, ModelNameError, ModelUnsupportedError

        refusals = (ArgumentValueError, DeviceError, EngineMissingError, ModelUnsupportedError)
        if isinstance(error, refusals) and not isinstance(error, ModelNameError):
            raise Unsupported(str(error)) from error


class Subject:
    """One strategy of ``OptimizedEmbeddingLoader``."""

    def __init__(self, options: "Mapping[str, str]") -> None:
        self._options = options

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import, construct, start."""
        from loader import LoadingStrategy, OptimizedEmbeddingLoader

        mark("imported")
        options = self._options
        with Refusals():
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
        """Wait if the strategy loads by itself."""
        if not self._loader.is_loading() and not self._loader.is_loaded():
            return False
        self._provide()
        return True

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text; as bytes, so that NumPy is imported only where the engine needs it."""
        return memoryview(self._provide().embed_query_bytes(text)).cast("f")

    def facts(self) -> dict[str, object]:
        """Return facts about what answered."""
        from loader import __version__

        provider = self._provide()
        # Only the service strategies report which of the two answered.
        who = {"answered_by": getattr(provider, "answered_by", None)} if self._options["strategy"] == "service" else {}
        return {
            **who,
            "engine": provider.engine,
            "precision": provider.precision,
            "device": provider.device,
            "dimension": provider.dimension,
            "version": __version__,
        }

    def _provide(self) -> "EmbeddingProvider":
        with Refusals():
            return self._loader.load(timeout=None)
