"""The two functions that most programs need: process-wide loaders, one per model and settings."""

from .arguments import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, check_timeout
from .core import OptimizedEmbeddingLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

    from .loadingstrategy import LoadingStrategy
    from .provider import EmbeddingProvider


def get_embedding_provider(
    model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
    strategy: "LoadingStrategy | str" = "progressive",
    timeout: float | None = DEFAULT_TIMEOUT_S,
    **options: "Any",
) -> "EmbeddingProvider | None":
    """Return the process-wide provider of a model, loading it if need be; None on failure or timeout.

    The reason for a None is ``OptimizedEmbeddingLoader.get_instance(<same arguments>).get_error()``; to have it raised,
    call ``.load()`` on that instance instead.

    Args:
        model_name: a folder or a hub name.
        strategy: when, and in which order, to load; see ``OptimizedEmbeddingLoader.get_instance``.
        timeout: seconds to wait; 0 does not wait at all, None waits for ever.
        **options: ``device``, ``engine``, ``threads``, ``allow_download``, ``show_progress``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument cannot be meant.
    """
    seconds = check_timeout(timeout)
    return OptimizedEmbeddingLoader.get_instance(model_name, strategy, **options).get_provider(seconds)


def preload_embeddings(
    model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
    strategy: "LoadingStrategy | str" = "progressive",
    **options: "Any",
) -> OptimizedEmbeddingLoader:
    """Begin to load a model in the background and return its process-wide loader at once.

    Call it as early as possible, and ``get_embedding_provider`` with the same arguments where vectors are needed. With
    the strategy LAZY nothing begins before that.

    Args:
        model_name, strategy: as for ``get_embedding_provider``.
        **options: ``device``, ``engine``, ``threads``, ``allow_download``, ``show_progress``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument cannot be meant.
    """
    instance = OptimizedEmbeddingLoader.get_instance(model_name, strategy, **options)
    instance.start_loading()
    return instance
