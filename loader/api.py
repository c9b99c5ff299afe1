"""The functions that most programs need: process-wide loaders, one per model and settings."""

from .arguments import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, check_timeout
from .core import OptimizedEmbeddingLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Unpack

    from .keywords import LoadOptions
    from .provider import EmbeddingProvider
    from .strategy_names import LoadingStrategy


def load(
    model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
    strategy: "LoadingStrategy | str" = "progressive",
    timeout: float | None = DEFAULT_TIMEOUT_S,
    **options: "Unpack[LoadOptions]",
) -> "EmbeddingProvider":
    """Load a model, or return the one this process has loaded already.

    >>> from loader import load
    >>> provider = load("all-MiniLM-L6-v2")
    >>> provider.embed_query("database connection").shape
    (384,)

    A model that is not on this machine is downloaded first, unless ``allow_download`` or the environment forbids it.

    Args:
        model_name: a folder or a hub name; a name without an organisation means a sentence-transformers model.
        strategy: a LoadingStrategy or its value; see ``OptimizedEmbeddingLoader.get_instance`` for which share a model.
        timeout: seconds to wait; 0 does not wait, None waits without a limit.
        **options: ``device``, ``engine``, ``threads``, ``allow_download``, ``compile``, ``show_progress``,
            ``precision`` and ``service``; see ``OptimizedEmbeddingLoader``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid.
        ModelNotFoundError: the model is not on this machine and was not downloaded; the message lists where to get it.
        LoadTimeoutError: not ready in time; the load goes on, and the next call returns its result.
        LoaderError: the load failed for another reason; ``loader.errors`` has the tree.
    """
    seconds = check_timeout(timeout)
    return OptimizedEmbeddingLoader.get_instance(model_name, strategy, **options).load(seconds)


def preload_embeddings(
    model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
    strategy: "LoadingStrategy | str" = "progressive",
    **options: "Unpack[LoadOptions]",
) -> OptimizedEmbeddingLoader:
    """Start loading a model in the background and return its loader at once.

    Call it as early as possible, and ``.load()`` on the result where you need the first vector. With the strategy LAZY,
    nothing is loaded before that.

    >>> from loader import preload_embeddings
    >>> model = preload_embeddings("all-MiniLM-L6-v2")
    >>> model.load().embed_query("database connection").shape
    (384,)

    Args:
        model_name, strategy, **options: as for ``load``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid.
    """
    instance = OptimizedEmbeddingLoader.get_instance(model_name, strategy, **options)
    instance.start_loading()
    return instance


def get_embedding_provider(
    model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
    strategy: "LoadingStrategy | str" = "progressive",
    timeout: float | None = DEFAULT_TIMEOUT_S,
    **options: "Unpack[LoadOptions]",
) -> "EmbeddingProvider | None":
    """Do what ``load`` does, but return None if the load fails or times out.

    ``OptimizedEmbeddingLoader.get_instance(<same arguments>).get_error()`` has the reason.

    Args:
        model_name, strategy, timeout, **options: as for ``load``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid.
    """
    seconds = check_timeout(timeout)
    return OptimizedEmbeddingLoader.get_instance(model_name, strategy, **options).get_provider(seconds)
