"""The parts of a model that are usable before it is loaded: folder, metadata, tokenizer. Each is made once."""

import threading

from .errors import ShutdownError
from .exitgate import GATE, LoadInterrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .arguments import Settings
    from .local import LocalProvider
    from .metadata import ModelMetadata
    from .source import ModelFolder
    from .tokenizer import TextTokenizer


class _Check(threading.Thread):
    """Does a check in a thread of its own; tells whoever uses the model if it fails."""

    def __init__(self, check: "Callable[[], None]", refuse: "Callable[[Exception], object]") -> None:
        super().__init__(name="embedding-loader:check", daemon=True)
        self._todo = check
        self._refuse: Callable[[Exception], object] | None = refuse
        self._inside = threading.Event()

    def begin(self) -> None:
        """Start the thread, or check at once where none can be started any more.

        Returns when the thread is inside the exit gate: a program that ends right now waits for it.
        """
        try:
            self.start()
        except RuntimeError:
            self.run()
        self._inside.wait(1.0)

    def run(self) -> None:
        """Check. The interpreter's exit waits for the end of it, so that the result is remembered."""
        try:
            with GATE.section():
                import hashlib  # noqa: F401 - now: once the gate is closed, every import ends the section
                import mmap  # noqa: F401

                self._inside.set()
                self._todo()
        except (LoadInterrupted, ShutdownError):
            pass
        except Exception as error:  # noqa: BLE001 - it must reach those who use the model
            if self._refuse is not None:
                self._refuse(error)
        finally:
            self._refuse = None  # it holds the provider
            self._inside.set()


class ModelParts:
    """Folder, metadata and tokenizer of one model, shared by the loader thread and its callers.

    Whoever asks first makes the part, the others wait for it.

    Attributes:
        known_metadata: the metadata if they were read already, else None; never blocks.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._folder: ModelFolder | None = None
        self._tokenizer: TextTokenizer | None = None
        self._check: _Check | None = None
        self.known_metadata: ModelMetadata | None = None

    @classmethod
    def of_folder(cls, path: str) -> "ModelParts":
        """Return the parts of a folder as it is, without looking whether it is complete or to be trusted."""
        from .arguments import Settings
        from .source import ModelFolder

        parts = cls(Settings(path))
        parts._folder = ModelFolder(path, path, "path")
        return parts

    def folder(self) -> "ModelFolder":
        """Return the model's files, downloaded where that is needed and allowed.

        Raises:
            ModelError, ModelNameError: see ``loader.source.resolve``.
        """
        with self._lock:
            if self._folder is None:
                from .source import resolve

                settings = self._settings
                self._folder = resolve(
                    settings.model_name,
                    allow_download=settings.allow_download,
                    progress=settings.show_progress,
                    defer_check=True,
                )
                check = self._folder.check
                if check is not None and check.recall():
                    self._folder.check = None
            return self._folder

    def check_beside(self, provider: "LocalProvider") -> None:
        """Have the model's files checked, where that was left to do, once the provider has embedded something.

        Hashing the weights of an installed package for the first time takes as long as everything else until the first
        vector, so it comes after it; see docs/decisions/0006-checks-beside-the-load.md.
        """
        check = self.folder().check
        if check is not None:
            self._check = _Check(check.check, provider.refuse)
            provider.after_first_run(self._check.begin)

    def artifact(self, engine: str, precision: str) -> str:
        """Return the folder of a prepared form of the model, for an engine and a precision.

        One of 8 bits is prepared where there is none yet; one of full precision if the settings say so.

        Raises:
            ArtifactError: there is none, or it is damaged or not trusted; the message has the command that makes one.
            CompileError, CacheError: it could not be made.
            ModelError, ModelNameError: as ``folder``.
        """
        from .artifacts import store

        source, settings = self.folder().path, self._settings
        found = store.find(source, engine, precision)
        if found is not None:
            return found.folder
        if precision == "int8" or settings.compile == "now":
            from .artifacts.compile import prepare

            return prepare(source, settings.model_name, precision, (engine,)).folder
        from .errors import ArtifactError

        raise ArtifactError(
            f"{settings.model_name!a} was never prepared for the engine {engine}. Prepare it once: "
            f"python -m loader compile {settings.model_name}"
        )

    def metadata(self) -> "ModelMetadata":
        """Return what the model's own configuration files say. Raises as ``folder``."""
        with self._lock:
            if self.known_metadata is None:
                from .metadata import read

                self.known_metadata = read(self.folder())
            return self.known_metadata

    def tokenizer(self) -> "TextTokenizer":
        """Return the model's tokenizer.

        Raises:
            ModelUnsupportedError: the model has no tokenizer.json.
            ModelError, ModelNameError: as ``folder``.
        """
        with self._lock:
            if self._tokenizer is None:
                from .tokenizer import TextTokenizer

                self._tokenizer = TextTokenizer(self.folder().path)
            return self._tokenizer
