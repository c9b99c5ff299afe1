"""The parts of a model that are usable before it is loaded: folder, metadata, tokenizer. Each is created once."""

from _thread import RLock

from .errors import LoaderError, ModelLoadError, ModelUnreadableError, ShutdownError, release_frames
from .exit_gate import GATE, LoadInterrupted
from .light_threads import Condition, import_threading, start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .arguments import Settings
    from .local_provider import LocalProvider
    from .model.metadata import ModelMetadata
    from .model.source import ModelFolder
    from .text.tokenizer import TextTokenizer


class _Check:
    """Runs a check in its own thread; if it fails, the model's users get the error."""

    def __init__(self, check: "Callable[[], None]", refuse: "Callable[[Exception], object]") -> None:
        self._todo = check
        self._refuse: Callable[[Exception], object] | None = refuse
        self._changed = Condition()
        self._inside = False

    def begin(self) -> None:
        """Start the thread, or check at once if no thread can be started any more.

        Returns when the thread is inside the exit gate, so a program that exits right now waits for it.
        """
        try:
            start_thread(self.run, "embedding-loader:check")
        except RuntimeError:
            self.run()
        with GATE.idle(), self._changed:
            self._changed.wait_for(lambda: self._inside, 1.0)

    def run(self) -> None:
        """Run the check. Interpreter exit waits for it, so that its result is stored."""
        try:
            with GATE.section():
                import hashlib  # noqa: F401 - now, because once the gate is closed, every import ends the section

                self._enter()
                self._todo()
        except (LoadInterrupted, ShutdownError):
            pass
        except ModelUnreadableError as error:
            from .runtime.log import log  # the stages have imported it

            log("warning", "The next process will check the model's files: %s", error)
        except BaseException as error:  # noqa: BLE001 - it must reach the model's users
            if self._refuse is not None:
                release_frames(error)
                self._refuse(_typed(error))
        finally:
            self._refuse = None  # it holds the provider
            self._enter()

    def _enter(self) -> None:
        with self._changed:
            self._inside = True
            self._changed.notify_all()


def _typed(error: BaseException) -> LoaderError:
    """Return the error for the model's users."""
    if isinstance(error, LoaderError):
        return error
    return ModelLoadError(f"The model's weights could not be checked: {type(error).__name__}: {error}. Load it again.")


class _PatientLock:
    """A re-entrant lock held during a download; threads that wait for it are idle in ``loader.exit_gate``."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            # Not kept: if a fork came before this thread goes on, the lock would stay locked in the child.
            with GATE.idle(), self._lock:
                pass

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class ModelParts:
    """Folder, metadata and tokenizer of one model, shared by the loader thread and its callers.

    The first caller creates a part, the others wait for it.

    Attributes:
        known_metadata: the metadata if it has been read, else None; never blocks.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._lock = _PatientLock()
        self._folder: ModelFolder | None = None
        self._tokenizer: TextTokenizer | None = None
        self._check: _Check | None = None
        self.known_metadata: ModelMetadata | None = None

    @classmethod
    def of_folder(cls, path: str) -> "ModelParts":
        """Return the parts of a folder as it is, without checking whether it is complete or trusted."""
        from .arguments import Settings
        from .model.source import ModelFolder

        parts = cls(Settings(path))
        parts._folder = ModelFolder(path, path, "path")
        return parts

    def folder(self) -> "ModelFolder":
        """Return the model's files, downloaded if necessary and allowed.

        Raises:
            ModelError, ModelNameError: see ``loader.model.source.resolve``.
        """
        with self._lock:
            if self._folder is None:
                from .model.source import resolve

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
        """Check the model's files, if that was deferred, once the provider has embedded something.

        Hashing the weights of an installed package for the first time takes as long as everything else until the first
        vector, so it comes afterwards; see docs/decisions/0006-checks-beside-the-load.md.
        """
        check = self.folder().check
        if check is not None:
            self._check = _Check(check.check, provider.refuse)
            provider.after_first_run(self._check.begin)

    def prepare_beside(self, provider: "LocalProvider") -> None:
        """Have another process prepare the model's tokenizer, if that has not been tried, once a text is embedded."""
        tokenizer = self._tokenizer
        if tokenizer is not None and tokenizer.unprepared == "":
            from .text.background import start_preparing

            folder = self.folder()
            provider.after_first_run(lambda: start_preparing(folder.path, folder.name))

    def artifact(self, engine: str, precision: str) -> str:
        """Return the folder of a prepared form of the model, for an engine and a precision.

        If there is none yet, an 8-bit one is prepared; one of full precision only if the settings say so.

        Raises:
            ArtifactError: there is none, or it is damaged or untrusted; the message has the command that makes one.
            CompileError, CacheError: it could not be made.
            ModelError, ModelNameError: as ``folder``.
        """
        from .artifacts import store
        from .errors import ArtifactError

        source, settings = self.folder().path, self._settings
        try:
            found = store.find_artifact(source, engine, precision)
        except ModelUnreadableError as error:
            raise ArtifactError(str(error)) from error  # another engine may not need it
        if found is not None:
            return found.folder
        if precision == "int8" or settings.compile == "now":
            import_threading()
            from .artifacts.compile import prepare

            return prepare(source, settings.model_name, precision, (engine,)).folder
        raise ArtifactError(
            f"{settings.model_name!a} has not been prepared for the engine {engine}. Prepare it once: "
            f"python -m loader compile {settings.model_name}"
        )

    def metadata(self) -> "ModelMetadata":
        """Return the metadata from the model's configuration files. Raises as ``folder``."""
        with self._lock:
            if self.known_metadata is None:
                from .model.metadata import read

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
                from .text.tokenizer import TextTokenizer

                self._tokenizer = TextTokenizer(self.folder().path)
            return self._tokenizer
