"""Does a prepared model give the vectors of the original? Nothing is published that does not."""

import numpy as np

from ..errors import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from numpy.typing import NDArray

TEXTS: "Final" = (
    "database connection",
    "How do I open a connection pool, and when does it time out?",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Où est la bibliothèque, s'il vous plaît ?",
    "東京は日本の首都です。",
    "Москва - столица России.",
    "def connect(url: str, *, timeout: float = 3.0) -> Connection:\n    return pool.get(url, timeout)",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;",
    "https://example.org/a/b?c=d&e=f#g 3.14159 1e-9 0xDEADBEEF",
    "Interest rates rose for the third time this year, which surprised most analysts.",
    "He plays the guitar in a small band on weekends.",
    "unbelievably antidisestablishmentarianism",
    "!?!?... ---",
    " ".join(["The committee will meet on Thursday to discuss the budget for the coming year."] * 6),
    " ".join(["A long document goes on and on, beyond what the model can read."] * 60),
)
"""Of several lengths, kinds and scripts; the last is longer than most models read."""

MINIMUM: "Final" = {"float32": (0.99999, 0.9999), "int8": (0.99, 0.95)}
"""By precision: the least mean cosine and the least single one. The specification asks of 8 bits 98 to 99 % of the full
accuracy."""


def compare(vectors: "NDArray[np.float32]", reference: "NDArray[np.float32]", precision: str) -> dict[str, float]:
    """Return mean and least cosine of vectors with the reference's, both of shape (texts, dimension).

    Raises:
        CompileError: they differ too much.
    """
    if vectors.shape != reference.shape:
        raise CompileError(f"The prepared model's vectors have the shape {vectors.shape}, not {reference.shape}.")
    cosines = np.sum(_unit(vectors) * _unit(reference), axis=1)
    mean, least = float(np.mean(cosines)), float(np.min(cosines))
    wanted_mean, wanted_least = MINIMUM[precision]
    if not (mean >= wanted_mean and least >= wanted_least):
        raise CompileError(
            f"The prepared model's vectors differ too much from the original's: mean cosine {mean:.6f} (at least "
            f"{wanted_mean}), least {least:.6f} (at least {wanted_least}). It was not kept."
        )
    return {"mean_cosine": mean, "min_cosine": least, "texts": len(cosines)}


def _unit(vectors: "NDArray[np.float32]") -> "NDArray[np.float64]":
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float64] = vectors / lengths
    return unit
