"""Preparation of a model, in a separate process: find its files, and leave everything as a first use leaves it.

The parent must not import the loader, so it runs this module, which prints one answer like a worker. Finding a model
that is a package hashes its weights once; the workers then find the hash in their private cache. The prepared forms of
the model that cells need are made here, and their cost is measured.

``python -m bench.measure.prepare MODEL WORD ...`` takes these words:

* ``float32``, ``int8``: the precisions to prepare; ``onnx``: prepare 8 bits for ONNX Runtime too;
* ``peer=FOLDER``: where to write the ONNX file for fastembed and OpenVINO; ``openvino``: also compile it;
* ``static=FOLDER``: where to write a static model for model2vec; ``static_from=FOLDER``: where one exists.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure.peer_files import check_static, compile_for_openvino, distil_static, export_onnx
from bench.measure.worker import ANSWER_PREFIX
from bench.subjects import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

FOR_WORKERS = ("peer_folder", "peer_error", "static_folder", "static_error")
"""Keys of the answer that become options of the workers; a missing key means the empty string."""

_WEIGHTS = frozenset({".safetensors", ".bin", ".onnx", ".onnx_data"})
"""Endings of files that hold weights."""


def prepare(name: str, *wanted: str) -> dict[str, Any]:
    """Return where the model is and what was prepared.

    Returns:
        ``{"error": ...}`` if there is no such model, otherwise ``origin``, ``reference_model`` (the name by which plain
        sentence-transformers finds the model), ``preparations`` (what was made, and its cost), ``weights`` (absolute
        paths of all files with weights of the model, in any form) and, on request, the keys in ``FOR_WORKERS``.
    """
    from loader.errors import LoaderError
    from loader.model.names import is_path, repo_ids
    from loader.model.source import resolve

    try:
        folder = resolve(name)
    except LoaderError as error:
        return {"error": str(error)}
    in_hub_cache = folder.origin in {"hub cache", "download"} and not is_path(name)
    reference = (
        next((repo for repo in repo_ids(name) if repo.replace("/", "--") in folder.path), name)
        if in_hub_cache
        else folder.path
    )
    compiled = [
        _compile(name, folder.path, precision, wanted) for precision in ("float32", "int8") if precision in wanted
    ]
    _prepare_tokenizer(name, folder.path)
    for_peers = _prepare_for_peers(name, folder.path, wanted)
    made = [artifact for artifact, _ in compiled]
    made += [for_peers[key] for key in ("peer_folder", "static_folder") if key in for_peers]
    return {
        "origin": folder.origin,
        "reference_model": reference,
        "preparations": [figures for _, figures in compiled],
        "weights": weight_files(folder.path, *filter(None, made)),
        **for_peers,
    }


def weight_files(model: str, *made: str) -> list[str]:
    """Return the real paths of a model folder's weights, and of every file in the folders made from it."""
    files = [path for path in Path(model).rglob("*") if path.suffix in _WEIGHTS]
    files += [path for folder in made for path in Path(folder).rglob("*")]
    return sorted({str(path.resolve()) for path in files if path.is_file()})


def _compile(name: str, source: str, precision: str, wanted: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the folder of a prepared form, "" on failure, and the cost of making it."""
    from loader.artifacts.compile import prepare as compile_into_store
    from loader.errors import LoaderError

    engines = ("onnx",) if precision == "float32" or "onnx" in wanted else ("numpy",)
    begun = time.perf_counter()
    try:
        artifact = compile_into_store(source, name, precision, engines)
    except LoaderError as error:
        return "", {"precision": precision, "error": str(error)}
    return artifact.folder, {
        "precision": precision,
        "seconds": round(time.perf_counter() - begun, 3),
        "bytes": artifact.bytes,
        "min_cosine_by_engine": {name: figures["min_cosine"] for name, figures in artifact.manifest.parity.items()},
    }


def _prepare_tokenizer(name: str, source: str) -> None:
    """Prepare the tokenizer, as the first process does in the background: that would disturb the samples after it."""
    try:
        from loader.text.background import NOT_YET, prepare_now, state_of
    except ImportError:
        return  # an earlier version of the loader, which the gate compares with
    if state_of(source) == NOT_YET:
        prepare_now(source, name)


def _prepare_for_peers(name: str, source: str, wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the folders for peers, and an error message for each that is ""; see ``FOR_WORKERS``."""
    answer = {}
    given = dict(word.split("=", 1) for word in wanted if "=" in word)
    if "peer" in given:
        target = Path(given["peer"])
        answer["peer_error"] = _try(lambda: export_onnx(source, target))
        answer["peer_folder"] = "" if answer["peer_error"] else str(target)
        if answer["peer_folder"] and "openvino" in wanted:
            _try(lambda: compile_for_openvino(name, str(target)))  # what fails here fails again in each sample
    if "static_from" in given:
        answer["static_error"] = _try(lambda: check_static(Path(given["static_from"])))
        answer["static_folder"] = "" if answer["static_error"] else str(Path(given["static_from"]).absolute())
    elif "static" in given:
        answer["static_error"] = _try(lambda: distil_static(source, Path(given["static"])))
        answer["static_folder"] = "" if answer["static_error"] else given["static"]
    return answer


def _try(make: Callable[[], None]) -> str:
    """Make something for a peer and return "", or an error message: that becomes a row, not a failure."""
    try:
        make()
    except Unsupported as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - other people's code may raise anything
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(prepare(*sys.argv[1:]))}\n")
