"""Preparation of a model, in a process of its own: find its files, and leave everything in the state of a second use.

The parent must not import the loader, so it runs this module, which prints one answer like a worker. Finding a model
that comes as a package hashes its weights once; the workers then find the hash in their private cache. Prepared forms
of the model that cells need are made here, and what that takes is measured.

``python -m bench.prepare MODEL WORD ...``, the words being:

* ``float32``, ``int8``: the precisions to prepare; ``onnx``: 8 bits are needed for ONNX Runtime too;
* ``peer=FOLDER``: where to write the ONNX file for fastembed and OpenVINO; ``openvino``: OpenVINO compiles it as well;
* ``static=FOLDER``: where to write a static model for model2vec; ``static_from=FOLDER``: where one is already.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peerfiles import check_static, compile_for_openvino, distil_static, export_onnx
from bench.subjects import Unsupported
from bench.worker import ANSWER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

FOR_WORKERS = ("peer_folder", "peer_error", "static_folder", "static_error")
"""What of the answer is an option of the workers; a key that is missing means the empty string."""

_WEIGHTS = frozenset({".safetensors", ".bin", ".onnx", ".onnx_data"})
"""Endings of files that hold weights."""


def prepare(name: str, *wanted: str) -> dict[str, Any]:
    """Return where the model is and what was prepared.

    Returns:
        ``{"error": ...}`` where there is no such model, otherwise ``origin``, ``reference_model`` (the name by which
        plain sentence-transformers finds the model), ``preparations`` (what was made and what it took), ``weights``
        (absolute paths of all files that hold weights of the model, in whatever form) and, where asked for, what
        ``FOR_WORKERS`` lists.
    """
    from loader.errors import LoaderError
    from loader.names import is_path, repo_ids
    from loader.source import resolve

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
    """Return the real paths of a model folder's weights, and of every file in the folders that were made from it."""
    files = [path for path in Path(model).rglob("*") if path.suffix in _WEIGHTS]
    files += [path for folder in made for path in Path(folder).rglob("*")]
    return sorted({str(path.resolve()) for path in files if path.is_file()})


def _compile(name: str, source: str, precision: str, wanted: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the folder of a prepared form, "" on failure, and what it took to make it."""
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


def _prepare_for_peers(name: str, source: str, wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the folders for peers, and for each that is "" what went wrong; see ``FOR_WORKERS``."""
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
    """Make something for a peer and return "", or what went wrong: that is a row, not a failure."""
    try:
        make()
    except Unsupported as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - other people's code, and whatever it raises
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(prepare(*sys.argv[1:]))}\n")
