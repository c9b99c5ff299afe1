"""Are the vectors right? Pure Python: the parent imports no NumPy while it measures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.plan.cell import ANSWERED_BY, EMPTY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.records import Record

MIN_COSINE = {"float32": 0.99999, "int8": 0.95}
"""Lowest cosine with the reference at which a vector counts as right, by precision."""

WITHOUT_VECTORS = frozenset({"import_numpy", EMPTY, "command"})
"""Subjects that embed nothing."""

ANOTHER_MODEL = frozenset({"model2vec"})
"""Subjects whose vectors come from another model: they can only be checked to be finite and not zero."""

_STORED_FLOATS = frozenset({"float16", "float32"})
"""Precisions of such a model, which no strategy promises."""


def precision_of(strategy: str) -> str:
    """Return the precision that a strategy, or what is measured instead of one, computes in.

    Known here as well as in the loader, because the process that measures must not import what it measures.
    """
    return "int8" if strategy == "quantized" else "float32"


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of two vectors; NaN if their lengths differ, or if one is zero or not finite."""
    if len(a) != len(b) or not a:
        return math.nan
    norms = math.hypot(*a) * math.hypot(*b)
    if not 0.0 < norms < math.inf:
        return math.nan
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / norms


MIN_COMMON_RESULTS = {"float32": 1.0, "int8": 0.6}
"""Smallest share of a search's results that must match the reference's, by precision; float32 also in order."""


def judge(record: Record, reference: Record | None) -> Record:
    """Return the record with its cosines to the reference, ``invalid`` if a vector or the engine is not the right one.

    Args:
        record: an ``ok`` sample; others are returned as they are.
        reference: an ``ok`` sample of the reference, or None if the run has none.
    """
    if record.status != "ok":
        return record
    expected, answered_by = ANSWERED_BY.get(record.cell.strategy), record.facts.get("answered_by")
    if expected not in {None, answered_by}:
        message = f"the {expected} should have answered, not the {answered_by}"
        problem = record.facts.get("service_problem")
        return replace(record, status="invalid", message=f"{message}: {problem}" if problem else message)
    if "results" in record.facts:
        return _judge_results(record, reference)
    asked, got = record.cell.engine, record.facts.get("engine")
    if asked not in {"", "auto", got}:
        return replace(record, status="invalid", message=f"engine {asked} was requested, but {got} answered")
    if record.cell.subject in WITHOUT_VECTORS:
        return record
    is_other = record.cell.subject in ANOTHER_MODEL
    promised = _STORED_FLOATS if is_other else {precision_of(record.cell.strategy)}
    if record.facts.get("precision") not in promised:
        message = (
            f"{record.facts.get('precision')} answered, {record.cell.strategy} promises {' or '.join(sorted(promised))}"
        )
        return replace(record, status="invalid", message=message)
    vectors = record.vectors()
    if not vectors or not all(math.isfinite(value) and any(vector) for vector in vectors for value in vector):
        return replace(record, status="invalid", message="a vector is zero or not finite")
    if reference is None or is_other:
        return record
    cosines = tuple(cosine(mine, theirs) for mine, theirs in zip(vectors, reference.vectors(), strict=True))
    wanted = MIN_COSINE.get(str(record.facts.get("precision")), MIN_COSINE["float32"])
    if all(value >= wanted for value in cosines):
        return replace(record, cosines=cosines)
    lowest = min(cosines, key=lambda value: -math.inf if math.isnan(value) else value)
    message = f"cosine {lowest:.6f} to plain sentence-transformers; at least {wanted} is required"
    return replace(
        record, status="invalid", message=message, cosines=tuple(v if math.isfinite(v) else -1.0 for v in cosines)
    )


def _judge_results(record: Record, reference: Record | None) -> Record:
    """Return the record of a search, ``invalid`` if its results differ from the reference's."""
    mine = record.facts["results"]
    theirs = reference.facts.get("results", mine) if reference else mine
    precision = precision_of(record.cell.strategy)
    common = len(set(mine) & set(theirs)) / max(len(theirs), 1)
    if common >= MIN_COMMON_RESULTS[precision] and (precision != "float32" or mine == theirs):
        return record
    message = f"found {', '.join(map(str, mine))}; plain sentence-transformers finds {', '.join(map(str, theirs))}"
    return replace(record, status="invalid", message=message)
