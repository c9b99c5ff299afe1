"""The keyword options of a loader, for type checkers only: nothing imports this module when a program runs."""

from typing import Literal, TypedDict

from .service.options import ServiceOptions


class LoaderOptions(TypedDict, total=False):
    """The keyword-only arguments of ``OptimizedEmbeddingLoader``, which documents them."""

    engine: str
    threads: int | None
    allow_download: bool | None
    compile: Literal["now", "detached"] | None
    show_progress: bool | None
    precision: Literal["float32", "int8"] | None
    service: ServiceOptions | None


class LoadOptions(LoaderOptions, total=False):
    """The options of ``load``, ``preload_embeddings`` and ``get_embedding_provider``."""

    device: str | None
