"""Uses of the public interface, for the type checker only: this file is never run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loader import (
    EmbeddingProvider,
    LoaderError,
    LoadingStrategy,
    ModelMetadata,
    OptimizedEmbeddingLoader,
    ResourceProfile,
    ServiceOptions,
    cosine_similarity,
    get_embedding_provider,
    load,
    preload_embeddings,
    top_k,
)


def functions() -> None:
    maybe: EmbeddingProvider | None = get_embedding_provider("m", LoadingStrategy.LAZY, timeout=None, device="cpu")
    loader: OptimizedEmbeddingLoader = preload_embeddings(Path("m"), "background")
    sure: EmbeddingProvider = load("m", "service", precision="int8", service=ServiceOptions(start=None))
    similarity: float = cosine_similarity([1.0], np.ones(1))
    nearest: list[tuple[int, float]] = top_k(sure.embed_query_bytes("a"), np.ones((2, 384), np.float32), 1)
    print(maybe, loader, sure, similarity, nearest)


def loader(one: OptimizedEmbeddingLoader) -> None:
    one.start_loading()
    provider: EmbeddingProvider = one.load(timeout=1)
    maybe: EmbeddingProvider | None = one.get_provider(0.5)
    error: LoaderError | None = one.get_error()
    metadata: ModelMetadata | None = one.get_metadata()
    dimension: int | None = one.get_embedding_dim_fast()
    seconds: float = one.get_load_time()
    flags: tuple[bool, bool] = (one.is_loading(), one.is_loaded())
    tokens: int = one.count_tokens("text")
    cut: str = one.truncate("text", 8)
    print(provider, maybe, error, metadata, dimension, seconds, flags, tokens, cut)
    OptimizedEmbeddingLoader.reset()


def provider(one: EmbeddingProvider) -> None:
    vector: NDArray[np.float32] = one.embed_query("text")
    matrix: NDArray[np.float32] = one.embed_batch(text for text in ["a", "b"])
    stream: Iterator[NDArray[np.float32]] = one.embed_stream(["a"], batch_size=2)
    names: tuple[str, str, str] = (one.engine, one.precision, one.device)
    sizes: tuple[int, int | None] = (one.dimension, one.max_seq_length)
    print(vector, matrix, stream, names, sizes)


def profile() -> None:
    found: ResourceProfile = ResourceProfile.detect()
    strategy: LoadingStrategy = found.recommended_strategy
    print(found.cpu_count + found.recommended_batch_size, found.available_memory_mb, strategy, found.reason)


def wrong() -> None:
    OptimizedEmbeddingLoader(3)  # type: ignore[arg-type]
    OptimizedEmbeddingLoader("m", threads="two")  # type: ignore[arg-type]
    get_embedding_provider(None)  # type: ignore[arg-type]
    load("m", threads="two")  # type: ignore[arg-type]
    load("m", thread=2)  # type: ignore[call-arg]
    preload_embeddings("m", compile="later")  # type: ignore[arg-type]
    OptimizedEmbeddingLoader.get_instance("m", precision="int4")  # type: ignore[arg-type]
