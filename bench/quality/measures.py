"""The figures, as pure functions of vectors and rankings. Imports NumPy: for the measured process, not for the parent.

Vectors are rows; nothing is assumed about their lengths. A ranking is an array of document numbers, best first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32] | NDArray[np.float64]
    Ranking = NDArray[np.intp]

TOP = 10
"""The number of documents of a ranking that count: a page of results."""


def unit_rows(vectors: Vectors) -> NDArray[np.float64]:
    """Return the rows scaled to length 1, in float64.

    Args:
        vectors: shape (rows, dimension).

    Raises:
        ValueError: they do not have that shape, or a row is zero or not finite.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors must have shape (rows, dimension), not {rows.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0.0)):
        raise ValueError("a vector is zero or not finite")
    scaled: NDArray[np.float64] = rows / lengths
    return scaled


def row_cosines(mine: Vectors, theirs: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each row with the same row of the other vectors, shape (rows,), from -1 to 1.

    Args:
        mine, theirs: shape (rows, dimension).

    Raises:
        ValueError: the shapes differ, or as for ``unit_rows``.
    """
    if np.shape(mine) != np.shape(theirs):
        raise ValueError(f"vectors of shape {np.shape(mine)} cannot be compared with shape {np.shape(theirs)}")
    cosines: NDArray[np.float64] = np.sum(unit_rows(mine) * unit_rows(theirs), axis=1)
    return np.clip(cosines, -1.0, 1.0)


def rank(queries: Vectors, documents: Vectors, top: int = TOP) -> Ranking:
    """Return the most similar documents of each query by cosine, shape (queries, min(top, documents)).

    Of equally similar documents, the one with the lower number comes first.

    Args:
        queries: shape (queries, dimension).
        documents: shape (documents, dimension).
        top: the number of documents per query.

    Raises:
        ValueError: as for ``unit_rows``.
    """
    similarities = unit_rows(queries) @ unit_rows(documents).T
    ranking: Ranking = np.argsort(-similarities, axis=1, kind="stable")[:, :top]
    return ranking


def overlap(mine: Ranking, theirs: Ranking) -> float:
    """Return the mean over the queries of the share of documents that two rankings have in common, |A∩B| / |A|.

    The order within a ranking does not matter.

    Args:
        mine, theirs: shape (queries, top), at least one of each; no row has a document twice.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if mine.shape != theirs.shape or mine.size == 0:
        raise ValueError(f"rankings of shape {mine.shape} cannot be compared with shape {theirs.shape}")
    common = np.any(mine[:, :, np.newaxis] == theirs[:, np.newaxis, :], axis=2)
    return float(np.mean(common))


def mean_reciprocal_rank(ranking: Ranking, relevant: Sequence[int]) -> float:
    """Return the mean over the queries of 1 / rank of the relevant document, 0 if the ranking does not have it.

    Voorhees: The TREC-8 Question Answering Track Report (1999), https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf

    Args:
        ranking: shape (queries, top), at least one query.
        relevant: the number of each query's only relevant document.

    Raises:
        ValueError: not one relevant document for each query, or no query.
    """
    hits = _hits(ranking, relevant)
    return float(np.mean(np.sum(hits / np.arange(1, ranking.shape[1] + 1), axis=1)))


def recall(ranking: Ranking, relevant: Sequence[int]) -> float:
    """Return the share of queries whose relevant document is in the ranking.

    With one relevant document for each query this is both recall and success at the ranking's length; Manning,
    Raghavan, Schütze: Introduction to Information Retrieval (2008), section 8.4. Arguments and errors as for
    ``mean_reciprocal_rank``.
    """
    return float(np.mean(np.any(_hits(ranking, relevant), axis=1)))


def spearman(similarities: NDArray[np.float64], scores: Sequence[float]) -> float | None:
    """Return the rank correlation of two series, from -1 to 1; None if one is constant, where it is undefined.

    Spearman: The Proof and Measurement of Association between Two Things (1904); ties get their mean rank
    (``scipy.stats.spearmanr``).

    Args:
        similarities, scores: shape (pairs,).

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.
    """
    from scipy.stats import spearmanr

    theirs = np.asarray(scores, dtype=np.float64)
    if similarities.shape != theirs.shape or theirs.ndim != 1 or len(theirs) < 2:
        raise ValueError(f"series of shape {similarities.shape} and {theirs.shape} have no correlation")
    if np.ptp(similarities) == 0.0 or np.ptp(theirs) == 0.0:
        return None
    return float(spearmanr(similarities, theirs).statistic)


def _hits(ranking: Ranking, relevant: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask of each query's relevant document in its ranking, shape (queries, top)."""
    if ranking.ndim != 2 or len(ranking) != len(relevant) or not len(ranking):
        raise ValueError(f"a ranking of shape {ranking.shape} needs as many relevant documents, not {len(relevant)}")
    hits: NDArray[np.bool_] = ranking == np.asarray(relevant, dtype=np.intp)[:, np.newaxis]
    return hits
