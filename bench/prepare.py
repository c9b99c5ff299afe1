"""Preparation of a model, in a process of its own: find its files, and leave everything in the state of a second use.

The parent must not import the loader, so it runs this module, which prints one answer like a worker. Finding a model
that comes as a package hashes its weights once; the workers then find the hash in their private cache. Prepared forms
of the model that cells need are made here, and what that takes is measured.

``python -m bench.prepare MODEL [float32] [int8] [onnx] [peer=FOLDER]``: the precisions to prepare, whether 8 bits are
needed for ONNX Runtime too, and where to write the files of a peer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.worker import ANSWER_PREFIX


def prepare(name: str, *wanted: str) -> dict[str, Any]:
    """Return where the model is, the name by which plain sentence-transformers finds it, and what was prepared."""
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
    answer: dict[str, Any] = {"origin": folder.origin, "reference_model": reference}
    answer["preparations"] = [
        _compile(name, folder.path, precision, wanted) for precision in ("float32", "int8") if precision in wanted
    ]
    for word in wanted:
        if word.startswith("peer="):
            answer["peer_folder"] = _export_for_peers(folder.path, Path(word.removeprefix("peer=")))
    return answer


def _compile(name: str, source: str, precision: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    from loader.artifacts.compile import prepare as compile_into_store
    from loader.errors import LoaderError

    engines = ("onnx",) if precision == "float32" or "onnx" in wanted else ("numpy",)
    begun = time.perf_counter()
    try:
        artifact = compile_into_store(source, name, precision, engines)
    except LoaderError as error:
        return {"precision": precision, "error": str(error)}
    return {
        "precision": precision,
        "seconds": round(time.perf_counter() - begun, 3),
        "bytes": artifact.bytes,
        "min_cosine_by_engine": {name: figures["min_cosine"] for name, figures in artifact.manifest.parity.items()},
    }


def _export_for_peers(source: str, target: Path) -> str:
    """Write one ONNX file with the weights inside, as fastembed's own models come; return the folder, "" on failure."""
    import shutil

    import torch
    from transformers import AutoModel

    target.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (Path(source) / name).is_file():
            shutil.copy(Path(source) / name, target / name)

    class Tokens(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(source, attn_implementation="eager")

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
            if self.model.config.model_type == "bert":
                inputs["token_type_ids"] = token_type_ids
            return self.model(**inputs).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("tokens", min=1, max=512)}
    example = torch.ones((2, 7), dtype=torch.int64)
    try:
        with torch.no_grad():
            torch.onnx.export(
                Tokens().eval(),
                (example, torch.ones_like(example), torch.zeros_like(example)),  # three tensors: one would be one input
                str(target / "model.onnx"),
                dynamo=True,
                dynamic_shapes=(axes, axes, axes),
                input_names=names,
                output_names=["last_hidden_state"],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # noqa: BLE001 - a peer that cannot be prepared is a row, not a failure
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return ""
    return str(target)


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(prepare(*sys.argv[1:]))}\n")
