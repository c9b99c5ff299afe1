"""Make an embedding model available as early and as cheaply as possible, with a strategy of your choice.

>>> from loader import load
>>> provider = load("all-MiniLM-L6-v2")
>>> provider.embed_query("database connection").shape
(384,)

``import loader`` is cheap: every public name is imported when it is first used.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import get_embedding_provider, load, preload_embeddings
    from .artifacts.compile import compile_model
    from .core import OptimizedEmbeddingLoader
    from .errors import (
        ArgumentTypeError,
        ArgumentValueError,
        ArtifactError,
        CacheError,
        CompileError,
        DeviceError,
        EmbeddingError,
        EngineError,
        EngineMissingError,
        ForkError,
        LoaderError,
        LoadTimeoutError,
        ModelCorruptError,
        ModelDownloadError,
        ModelError,
        ModelLoadError,
        ModelNameError,
        ModelNotFoundError,
        ModelUnreadableError,
        ModelUnsupportedError,
        ServiceBusyError,
        ServiceError,
        ServiceMismatchError,
        ServiceProtocolError,
        ServiceRefusedError,
        ServiceTimeoutError,
        ServiceUnavailableError,
        ServiceUnsafeError,
        ShutdownError,
        TextError,
    )
    from .model.metadata import ModelMetadata
    from .profile import ResourceProfile
    from .provider import EmbeddingProvider
    from .service.options import ServiceOptions
    from .similarity import cosine_similarity, top_k
    from .strategy_names import LoadingStrategy
    from .version import __version__ as __version__

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "ArtifactError",
    "CacheError",
    "CompileError",
    "DeviceError",
    "EmbeddingError",
    "EmbeddingProvider",
    "EngineError",
    "EngineMissingError",
    "ForkError",
    "LoadTimeoutError",
    "LoaderError",
    "LoadingStrategy",
    "ModelCorruptError",
    "ModelDownloadError",
    "ModelError",
    "ModelLoadError",
    "ModelMetadata",
    "ModelNameError",
    "ModelNotFoundError",
    "ModelUnreadableError",
    "ModelUnsupportedError",
    "OptimizedEmbeddingLoader",
    "ResourceProfile",
    "ServiceBusyError",
    "ServiceError",
    "ServiceMismatchError",
    "ServiceOptions",
    "ServiceProtocolError",
    "ServiceRefusedError",
    "ServiceTimeoutError",
    "ServiceUnavailableError",
    "ServiceUnsafeError",
    "ShutdownError",
    "TextError",
    "compile_model",
    "cosine_similarity",
    "get_embedding_provider",
    "load",
    "preload_embeddings",
    "top_k",
]

_HOME_BY_NAME = {
    "EmbeddingProvider": "provider",
    "LoadingStrategy": "strategy_names",
    "ModelMetadata": "model.metadata",
    "OptimizedEmbeddingLoader": "core",
    "ResourceProfile": "profile",
    "ServiceOptions": "service.options",
    "__version__": "version",
    "compile_model": "artifacts.compile",
    "cosine_similarity": "similarity",
    "get_embedding_provider": "api",
    "load": "api",
    "preload_embeddings": "api",
    "top_k": "similarity",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562); a public name that is not in the table above is an error class."""
    if name not in _HOME_BY_NAME and name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_HOME_BY_NAME.get(name, 'errors')}"
    # __import__ rather than importlib.import_module: the latter costs another module.
    __import__(home)
    value = getattr(sys.modules[home], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
