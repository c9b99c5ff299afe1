"""Every error this library raises, as one tree.

::

    LoaderError
    ├── ArgumentTypeError         (also TypeError)     an argument has the wrong type
    ├── ArgumentValueError        (also ValueError)    an argument has an invalid value
    │   ├── ModelNameError                             neither a path nor a hub name
    │   └── TextError                                  a text that no tokenizer can read
    ├── ModelError                                     the model's files
    │   ├── ModelNotFoundError    (also LookupError)   not on this machine; lists every place searched
    │   ├── ModelDownloadError    (also OSError)       the hub answered, the download failed
    │   ├── ModelCorruptError                          files that are damaged or inconsistent
    │   ├── ModelUnreadableError  (also OSError)       files that cannot be read now: memory, permissions, the disk, ...
    │   ├── ModelUnsupportedError                      files we refuse, such as pickled weights
    │   └── ArtifactError                              a prepared model that is missing, damaged or untrusted
    ├── EngineError                                    what computes the vectors
    │   ├── EngineMissingError    (also ImportError)   a package is missing; names the extra
    │   ├── DeviceError                                the requested device is not available
    │   ├── CompileError                               a model could not be prepared
    │   ├── ModelLoadError                             the engine failed while loading
    │   └── EmbeddingError                             the engine failed while embedding
    ├── ServiceError                                   the model service; raised only if fallback is off
    │   ├── ServiceUnavailableError (also ConnectionError) not running, not reachable, or gone during a request
    │   ├── ServiceUnsafeError    (also PermissionError) its folder, or the process behind its socket, is not the user's
    │   ├── ServiceTimeoutError   (also TimeoutError)  no heartbeat, or no answer in time
    │   ├── ServiceBusyError                           more requests than it can hold
    │   ├── ServiceMismatchError                       it runs a different version, model or settings
    │   ├── ServiceProtocolError                       one side broke the protocol
    │   └── ServiceRefusedError                        it cannot do this: the text is too long, or its engine failed
    ├── LoadTimeoutError          (also TimeoutError)  not ready in time; the load goes on
    ├── CacheError                (also OSError)       our own cache folder cannot be written
    ├── ForkError                 (also RuntimeError)  a model used in a forked child
    └── ShutdownError             (also RuntimeError)  the interpreter is exiting

Catch ``LoaderError`` to catch them all. Each message says what happened, the value, and what to do next.
"""

import os

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
    "ModelUnreadableError",
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
    """The root of the tree; never raised directly."""


class ArgumentTypeError(LoaderError, TypeError):
    """An argument has the wrong type."""


class ArgumentValueError(LoaderError, ValueError):
    """An argument has the right type but an invalid value."""


class ModelNameError(ArgumentValueError):
    """The model name is neither a path nor a valid hub name."""


class TextError(ArgumentValueError):
    """A text that cannot be encoded as UTF-8, so no tokenizer can read it."""


class ModelError(LoaderError):
    """Something is wrong with the model's files."""


class ModelNotFoundError(ModelError, LookupError):
    """The model was not found; the message names every place that was searched."""


class ModelDownloadError(ModelError, OSError):
    """The hub answered, but the download failed."""


class ModelCorruptError(ModelError):
    """The model's files are truncated, damaged or inconsistent."""


class ModelUnreadableError(ModelError, OSError):
    """The model's files cannot be read now, for lack of memory, file descriptors, permissions or a working disk.

    They are not known to be damaged, and the same load may succeed later.
    """


class ModelUnsupportedError(ModelError):
    """The model's files are readable but not supported, for instance pickled weights."""


class ArtifactError(ModelError):
    """A prepared model is missing, damaged, of another version, or writable by others, so it is not used."""


class EngineError(LoaderError):
    """Something is wrong with what computes the vectors."""


class EngineMissingError(EngineError, ImportError):
    """A package that the engine needs is not installed; the message names the extra."""


class DeviceError(EngineError):
    """The requested device is not available."""


class CompileError(EngineError):
    """A model could not be prepared: its export failed, or its vectors differ too much from the reference's."""


class ModelLoadError(EngineError):
    """The engine raised while it loaded the model; its own error is the ``__cause__``."""


class EmbeddingError(EngineError):
    """The engine raised while it embedded, or returned vectors that are not finite."""


class ServiceError(LoaderError):
    """The model service could not be used. Providers then compute in this process, unless ``fallback`` is off."""


class ServiceUnavailableError(ServiceError, ConnectionError):
    """The service is not running, cannot be reached, or went away."""


class ServiceUnsafeError(ServiceError, PermissionError):
    """The socket folder, or the process behind a socket, belongs to another user or is open to others."""


class ServiceTimeoutError(ServiceError, TimeoutError):
    """The service sent no heartbeat, or no answer, in time."""


class ServiceBusyError(ServiceError):
    """The service already holds as many requests as it accepts."""


class ServiceMismatchError(ServiceError):
    """The service runs a different version, model or settings from what the caller asked for."""


class ServiceProtocolError(ServiceError):
    """One side broke the protocol; see docs/reference/service-protocol.md."""


class ServiceRefusedError(ServiceError):
    """The service understood the request but cannot do it: a text beyond its limits, or a failed engine."""


class LoadTimeoutError(LoaderError, TimeoutError):
    """The model was not ready in time. The load goes on; ask again."""


class CacheError(LoaderError, OSError):
    """The library's own cache folder cannot be written. Loading works without it."""


class ForkError(LoaderError, RuntimeError):
    """The child uses a model that was loaded, or was loading, before ``fork``."""


class ShutdownError(LoaderError, RuntimeError):
    """The interpreter is exiting, so only the main thread may start native work."""


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic in a library written in Rust.

    Panics derive from BaseException, so ``except Exception`` does not catch them, and their class cannot be imported.
    """
    return type(error).__module__ == "pyo3_runtime"


def lacking(path: str, error: BaseException) -> ModelUnreadableError | None:
    """Return the error to raise if a file could not be read for a reason outside the file, such as memory.

    Args:
        path: the file.
        error: what reading it raised.

    Returns:
        None if the error is about the file itself: damaged content, a folder in its place, a broken link.
    """
    import errno

    number = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None) or _in_words(str(error))
    if number in {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}:
        return None
    advice = {
        errno.ENOMEM: "There is not enough memory: free some, or raise this process's limit (ulimit -v).",
        errno.EMFILE: "This process has too many open files: close some, or raise its limit (ulimit -n).",
        errno.ENFILE: "The system has too many open files: end some processes.",
        errno.EACCES: "Give this user permission to read it.",
        errno.EPERM: "Give this user permission to read it.",
    }.get(number, "The file may be intact: check its disk and try again.")
    return ModelUnreadableError(f"{path} cannot be read: {os.strerror(number)}. {advice}")


def _in_words(message: str) -> int | None:
    """Return the system error number in a message from a Rust library or ONNX Runtime, or None."""
    for words in ("(os error ", "system error number "):
        _, found, rest = message.rpartition(words)
        digits = rest.rstrip().rstrip(")")
        if found and digits.isascii() and digits.isdecimal() and len(digits) < 6:
            return int(digits)
    return None


def release_frames(error: BaseException) -> None:
    """Release the local variables held by the tracebacks of an error and its causes.

    Otherwise an error that is kept would keep half a model alive, and destroy it wherever the error is dropped. Imports
    nothing: at interpreter exit any import may be interrupted.
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
                pass  # still running: it releases them when it ends
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
