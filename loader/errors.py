"""Every error this library raises, as one tree.

::

    LoaderError
    ├── ArgumentTypeError         (also TypeError)     an argument has the wrong type
    ├── ArgumentValueError        (also ValueError)    an argument has a value that cannot be meant
    │   ├── ModelNameError                             not a path and not a hub name
    │   └── TextError                                  a text that no tokenizer can read
    ├── ModelError                                     the model's files
    │   ├── ModelNotFoundError    (also LookupError)   nowhere; lists every place looked at
    │   ├── ModelDownloadError    (also OSError)       the hub answered, the download failed
    │   ├── ModelCorruptError                          files that are damaged or contradict themselves
    │   ├── ModelUnsupportedError                      files we refuse, such as pickled weights
    │   └── ArtifactError                              a prepared model that is missing, damaged or not trusted
    ├── EngineError                                    what computes the vectors
    │   ├── EngineMissingError    (also ImportError)   a package is missing; names the extra
    │   ├── DeviceError                                the asked-for device is not there
    │   ├── CompileError                               a model could not be prepared
    │   ├── ModelLoadError                             the engine failed while loading
    │   └── EmbeddingError                             the engine failed while embedding
    ├── ServiceError                                   the model service; raised only where falling back is not allowed
    │   ├── ServiceUnavailableError (also ConnectionError) not running, not reachable, or gone while it worked
    │   ├── ServiceUnsafeError    (also PermissionError) its folder or the process behind its socket is not the user's
    │   ├── ServiceTimeoutError   (also TimeoutError)  no sign of life, or no answer in time
    │   ├── ServiceBusyError                           more requests than it can hold
    │   ├── ServiceMismatchError                       it has another version, model or settings
    │   ├── ServiceProtocolError                       what it said, or was told, is not the protocol
    │   └── ServiceRefusedError                        it cannot do this: the text is too long, its engine failed
    ├── LoadTimeoutError          (also TimeoutError)  not ready in time; the load goes on
    ├── CacheError                (also OSError)       our own cache folder cannot be written
    ├── ForkError                 (also RuntimeError)  a model used in a forked child
    └── ShutdownError             (also RuntimeError)  the interpreter is exiting

Catch ``LoaderError`` to catch them all. Each message says what happened, the value, and what to do next.
"""

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "ArtifactError",
    "CacheError",
    "CompileError",
    "DeviceError",
    "EmbeddingError",
    "EngineError",
    "EngineMissingError",
    "ForkError",
    "LoadTimeoutError",
    "LoaderError",
    "ModelCorruptError",
    "ModelDownloadError",
    "ModelError",
    "ModelLoadError",
    "ModelNameError",
    "ModelNotFoundError",
    "ModelUnsupportedError",
    "ServiceBusyError",
    "ServiceError",
    "ServiceMismatchError",
    "ServiceProtocolError",
    "ServiceRefusedError",
    "ServiceTimeoutError",
    "ServiceUnavailableError",
    "ServiceUnsafeError",
    "ShutdownError",
    "TextError",
]


class LoaderError(Exception):
    """The root of the tree; raised itself by nothing."""


class ArgumentTypeError(LoaderError, TypeError):
    """An argument has the wrong type."""


class ArgumentValueError(LoaderError, ValueError):
    """An argument has the right type and a value that cannot be meant."""


class ModelNameError(ArgumentValueError):
    """The model name is neither a path nor a name that a model hub could know."""


class TextError(ArgumentValueError):
    """A text that cannot be encoded as UTF-8, so that no tokenizer can read it."""


class ModelError(LoaderError):
    """Something is wrong with the model's files."""


class ModelNotFoundError(ModelError, LookupError):
    """The model is nowhere; the message names every place that was looked at."""


class ModelDownloadError(ModelError, OSError):
    """The hub answered, but the download failed."""


class ModelCorruptError(ModelError):
    """The model's files are truncated, damaged, or contradict themselves."""


class ModelUnsupportedError(ModelError):
    """The model's files are readable but refused, for instance pickled weights."""


class ArtifactError(ModelError):
    """A prepared model is missing, damaged, of another version, or can be changed by others; it is not used."""


class EngineError(LoaderError):
    """Something is wrong with what computes the vectors."""


class EngineMissingError(EngineError, ImportError):
    """A package that the engine needs is not installed; the message names the extra."""


class DeviceError(EngineError):
    """The device that was asked for is not available."""


class CompileError(EngineError):
    """A model could not be prepared: its export failed, or its vectors would differ too much from the reference's."""


class ModelLoadError(EngineError):
    """The engine raised while it loaded the model; its own error is the ``__cause__``."""


class EmbeddingError(EngineError):
    """The engine raised while it embedded, or returned vectors that are not finite."""


class ServiceError(LoaderError):
    """The model service could not be used. Providers then compute by themselves, unless they must not."""


class ServiceUnavailableError(ServiceError, ConnectionError):
    """The service is not running, cannot be reached, or went away."""


class ServiceUnsafeError(ServiceError, PermissionError):
    """The folder of the sockets, or the process behind one, belongs to somebody else or is open to others."""


class ServiceTimeoutError(ServiceError, TimeoutError):
    """The service gave no sign of life, or no answer, in time."""


class ServiceBusyError(ServiceError):
    """The service holds as many requests as it may."""


class ServiceMismatchError(ServiceError):
    """The service runs another version, another model or other settings than the caller asks for."""


class ServiceProtocolError(ServiceError):
    """One side said something that is not the protocol; see docs/reference/service-protocol.md."""


class ServiceRefusedError(ServiceError):
    """The service understood and cannot do it: a text beyond its limits, or an engine that failed."""


class LoadTimeoutError(LoaderError, TimeoutError):
    """The model was not ready in time. The load goes on; ask again."""


class CacheError(LoaderError, OSError):
    """The library's own cache folder cannot be written. Loading works without it."""


class ForkError(LoaderError, RuntimeError):
    """A model that was loaded, or being loaded, before ``fork`` is used in the child."""


class ShutdownError(LoaderError, RuntimeError):
    """The interpreter is exiting, so no thread but the main one may start native work."""


def release_frames(error: BaseException) -> None:
    """Let go of the local variables that the tracebacks of an error and its causes hold.

    An error that is kept would otherwise keep half a model alive, and destroy it wherever it is dropped itself. Imports
    nothing: at interpreter exit every import may be interrupted.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        trace = current.__traceback__
        while trace is not None:
            try:
                trace.tb_frame.clear()
            except RuntimeError:
                pass  # still running: it lets go by itself
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
