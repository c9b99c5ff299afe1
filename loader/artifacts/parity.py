"""Checks that a prepared model gives the vectors of the original. Nothing is published that does not.

The check when it is made covers one version of ONNX Runtime on one architecture. A different one, on the same machine
later or on a machine that the folder was copied to, must pass the check once, with the same texts, before its vectors
are used. Processors of the same architecture need no check: ``loader.artifacts.quantize`` keeps what they could
disagree on out of the weights.
"""

import os
import platform

import numpy as np

from ..errors import ArtifactError, CacheError, CompileError
from ..model.file_hash import sha256_of
from ..runtime.log import log
from ..runtime.paths import cache_folder, write_atomically
from ..vectors import as_array
from . import FILE, is_artifact
from .manifest import ADVICE, read_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from numpy.typing import NDArray

    from ..contract import Engine

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
"""Texts of several lengths, kinds and scripts; the last is longer than most models read."""

MINIMUM: "Final" = {"float32": (0.99999, 0.9999), "int8": (0.99, 0.95)}
"""By precision: the minimum mean cosine and the minimum single cosine. The specification asks for 98 to 99 % of the
full accuracy with 8 bits."""


def compare(vectors: "NDArray[np.float32]", reference: "NDArray[np.float32]", precision: str) -> dict[str, float]:
    """Return the mean and minimum cosine between vectors and the reference's, both of shape (texts, dimension).

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
            f"The prepared model's vectors differ too much from the original's: mean cosine {mean:.6f} (must be at "
            f"least {wanted_mean}), minimum {least:.6f} (at least {wanted_least})."
        )
    return {"mean_cosine": mean, "min_cosine": least, "texts": len(cosines)}


def probes(reference: "NDArray[np.float32]") -> "dict[str, Any]":
    """Return the reference's vectors of ``TEXTS`` in the manifest's format."""
    import base64

    return {"texts": list(TEXTS), "vectors": base64.b64encode(reference.astype("<f4").tobytes()).decode()}


def prove(folder: str, engine: "Engine", version: str) -> None:
    """Compare the vectors of ONNX Runtime with the manifest's, if this version and machine have not been checked yet.

    Args:
        folder: the artifact, or one in the making that has no manifest yet.
        engine: the engine that has it open.
        version: the version of ONNX Runtime.

    Raises:
        ArtifactError: the vectors differ too much, or the manifest has none.
    """
    if not is_artifact(folder):
        return
    manifest = read_manifest(folder)
    made_with, here = _where(manifest.versions), _where({"onnxruntime": version, "machine": platform.machine()})
    if made_with == here:
        return
    proof = os.path.join(cache_folder(), "proofs", f"{sha256_of(os.path.join(folder, FILE))}-{here.replace(' ', '-')}")
    if os.path.exists(proof):
        return
    try:
        texts, reference = _read_probes(manifest.probes)
        compare(as_array(engine.encode(texts, "document", len(texts)), engine.dimension), reference, manifest.precision)
    except (ValueError, KeyError, TypeError, CompileError) as error:
        raise ArtifactError(
            f"{folder} was prepared with ONNX Runtime {made_with} and cannot be used with {here}: {error}. {ADVICE}"
        ) from error
    try:
        write_atomically(proof, b"")
    except CacheError as error:
        log("info", "The next process will compare the vectors of %s again: %s", folder, error)


def _where(versions: "dict[str, str]") -> str:
    """Return what the vectors of ONNX Runtime depend on: its version and the processor's architecture."""
    return f"{versions.get('onnxruntime')} on {versions.get('machine')}"


def _read_probes(fields: "dict[str, Any]") -> "tuple[list[str], NDArray[np.float32]]":
    """Return texts and vectors; raises ValueError, KeyError or TypeError if they are damaged."""
    import base64

    texts = [text for text in fields["texts"] if isinstance(text, str)]
    flat = np.frombuffer(base64.b64decode(fields["vectors"], validate=True), "<f4")
    if not texts or len(texts) != len(fields["texts"]) or not flat.size or flat.size % len(texts):
        raise ValueError("its manifest has no vectors to compare with")
    return texts, flat.reshape(len(texts), -1)


def _unit(vectors: "NDArray[np.float32]") -> "NDArray[np.float64]":
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float64] = vectors / lengths
    return unit
