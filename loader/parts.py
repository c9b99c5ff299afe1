"""The parts of a model that are usable before it is loaded: folder, metadata, tokenizer. Each is made once."""

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .arguments import Settings
    from .metadata import ModelMetadata
    from .source import ModelFolder
    from .tokenizer import TextTokenizer


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
        self.known_metadata: ModelMetadata | None = None

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
                )
            return self._folder

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
