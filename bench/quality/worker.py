"""The process of one cell: embed the task's texts, compare them with the reference's vectors, answer with figures.

Run as a module by ``bench.quality.run``, with options as KEY=VALUE words; answers like ``bench.measure.worker``.
Nothing is timed here. The reference's process writes its vectors into a folder, and the other cells compare theirs with
them.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.data.quality_records import QualityFigures
from bench.measure.worker import main
from bench.plan.cell import BASELINE
from bench.quality.measures import mean_reciprocal_rank, overlap, rank, recall, row_cosines, spearman
from bench.quality.task import Task, read_task
from bench.subjects.embedding_loader import Refusals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    ModelVectors = NDArray[np.float32]

COMPARED = ("documents", "queries", "odd_texts")
"""The kinds of texts whose vectors are compared with the reference's: together they are ``Task.fixed_texts``."""

SHOWN_CHARACTERS = 60
"""How many characters of a text are quoted."""


class Embedder(Protocol):
    """A loaded embedder."""

    def documents(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of documents, shape (texts, dimension)."""

    def queries(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of search queries, shape (texts, dimension)."""

    def facts(self) -> dict[str, object]:
        """Return facts about it."""


class ReferenceModel:
    """Plain sentence-transformers."""

    def __init__(self, options: Mapping[str, str]) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        if options["threads"]:
            torch.set_num_threads(int(options["threads"]))
        self._model = SentenceTransformer(options["reference_model"], device=options["device"])

    def documents(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of documents."""
        vectors: ModelVectors = self._model.encode_document(list(texts), show_progress_bar=False)
        return vectors

    def queries(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of queries."""
        vectors: ModelVectors = self._model.encode_query(list(texts), show_progress_bar=False)
        return vectors

    def facts(self) -> dict[str, object]:
        """Return facts about it."""
        import sentence_transformers

        return {
            "engine": "sentence_transformers",
            "precision": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._model.device),
            "version": sentence_transformers.__version__,
        }


class Loaded:
    """Our own loader, through its public interface.

    Raises:
        Unsupported: no engine here can do what the cell needs.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        from loader import LoadingStrategy, OptimizedEmbeddingLoader

        strategy = LoadingStrategy(options["strategy"])
        with Refusals():
            self._provider = OptimizedEmbeddingLoader(
                options["model"],
                strategy,
                None if options["device"] == "auto" else options["device"],
                engine=options["engine"],
                threads=int(options["threads"]) if options["threads"] else None,
            ).load(timeout=None)

    def documents(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of documents."""
        return self._provider.embed_batch(texts)

    def queries(self, texts: Sequence[str]) -> ModelVectors:
        """Return the vectors of queries, each embedded separately, as in a search."""
        return np.stack([self._provider.embed_query(text) for text in texts])

    def facts(self) -> dict[str, object]:
        """Return facts about it."""
        from loader import __version__

        return {
            "engine": self._provider.engine,
            "precision": self._provider.precision,
            "device": self._provider.device,
            "version": __version__,
        }


def measure(options: dict[str, str]) -> dict[str, object]:
    """Return the answer for a cell.

    Args:
        options: a cell's options (``bench.measure.sampler.worker_options``); ``task``, the task's file; ``vectors``,
            the folder of the reference's vectors, written by the reference and read by the others.
    """
    task, folder = read_task(Path(options["task"])), Path(options["vectors"])
    is_reference = options["strategy"] == BASELINE
    embedder: Embedder = ReferenceModel(options) if is_reference else Loaded(options)
    vectors = embed(embedder, task)
    try:
        if is_reference:
            folder.mkdir()
            for kind in COMPARED:
                np.save(folder / f"{kind}.npy", vectors[kind])
            figures = assess(task, vectors)
        else:
            figures = assess(task, vectors, {kind: np.load(folder / f"{kind}.npy") for kind in COMPARED})
    except ValueError as error:
        return {"status": "invalid", "message": str(error)}
    return {"status": "ok", "facts": embedder.facts(), "figures": asdict(figures)}


def embed(embedder: Embedder, task: Task) -> dict[str, ModelVectors]:
    """Return the vectors of the task's texts, by kind; a sentence that is in several STS pairs is embedded once."""
    vectors = {
        "documents": embedder.documents(task.documents),
        "queries": embedder.queries(task.queries),
        "odd_texts": embedder.documents(task.odd_texts),
    }
    if task.sts_scores:
        numbers = {text: number for number, text in enumerate(dict.fromkeys((*task.sts_first, *task.sts_second)))}
        sentences = embedder.documents(list(numbers))
        vectors["sts_first"] = sentences[[numbers[text] for text in task.sts_first]]
        vectors["sts_second"] = sentences[[numbers[text] for text in task.sts_second]]
    return vectors


def assess(
    task: Task, vectors: Mapping[str, ModelVectors], reference: Mapping[str, ModelVectors] | None = None
) -> QualityFigures:
    """Return the figures of a cell's vectors.

    Args:
        task: the texts.
        vectors: as ``embed`` returns them.
        reference: the reference's vectors of the kinds in COMPARED; None for the reference itself.

    Raises:
        ValueError: a vector is zero or not finite, or its length differs from the reference's.
    """
    ranking = rank(vectors["queries"], vectors["documents"])
    relevant = range(len(task.queries))
    figures: dict[str, Any] = {
        "document_count": len(task.documents),
        "query_count": len(task.queries),
        "mrr_at_10": mean_reciprocal_rank(ranking, relevant),
        "recall_at_10": recall(ranking, relevant),
    }
    if task.sts_scores:
        figures["sts_pair_count"] = len(task.sts_scores)
        figures["sts_spearman"] = spearman(row_cosines(vectors["sts_first"], vectors["sts_second"]), task.sts_scores)
    if reference is None:
        return QualityFigures(**figures)
    cosines = np.concatenate([row_cosines(vectors[kind], reference[kind]) for kind in COMPARED])
    return QualityFigures(
        **figures,
        text_count=len(cosines),
        cosine_mean=float(np.mean(cosines)),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_min=float(np.min(cosines)),
        cosine_min_text=ascii(task.fixed_texts[int(np.argmin(cosines))][:SHOWN_CHARACTERS]),
        overlap_at_10=overlap(ranking, rank(reference["queries"], reference["documents"])),
    )


if __name__ == "__main__":
    main(measure)
