"""Makes the files that peers need: an ONNX file, a compiled form of it, a static model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bench.subjects import Unsupported
from bench.subjects.openvino import PIPELINE_FILE

STATIC_WEIGHTS = "model.safetensors"

_TOKENIZER_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


def export_onnx(source: str, target: Path) -> None:
    """Write one ONNX file with the weights inside, like fastembed's own models, and the pipeline's settings.

    Args:
        source: a model's folder.
        target: the folder to create, with the tokenizer's files and ``PIPELINE_FILE``.
    """
    import torch
    from transformers import AutoModel

    target.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        if (Path(source) / name).is_file():
            shutil.copy(Path(source) / name, target / name)
    (target / PIPELINE_FILE).write_text(json.dumps(describe_pipeline(source)), encoding="utf-8")

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


def describe_pipeline(source: str) -> dict[str, Any]:
    """Return what comes before and after a model's transformer, see ``bench.subjects.openvino``.

    Raises:
        ModelError: the model's files are damaged or not supported.
    """
    from loader.model.config_files import read_json
    from loader.model.pipeline import Pipeline

    pipeline = Pipeline(source)
    kinds = [str(module["type"]).rpartition(".")[2] for module in read_json(source, "modules.json") or ()]
    return {
        "max_tokens": pipeline.max_seq_length,
        "pooling": list(pipeline.pooling),
        "dense_layers": len(pipeline.dense),
        "normalizes": "Normalize" in kinds,
    }


def compile_for_openvino(model: str, folder: str) -> None:
    """Let OpenVINO compile the exported model once, so that every sample finds it in OpenVINO's own cache.

    Raises:
        Unsupported: OpenVINO is not installed, or the model's pooling is not the one that we run with OpenVINO.
    """
    from bench.subjects.openvino import Subject

    subject = Subject({"model": model, "peer_folder": folder, "device": "cpu", "threads": ""})
    subject.open(lambda _: None)


def distil_static(source: str, target: Path) -> None:
    """Distil a static model from a model, following model2vec's documentation, and save it.

    Raises:
        Unsupported: model2vec, or what it needs to distil, is not installed.
    """
    try:
        from model2vec.distill import distill
    except ImportError as error:
        raise Unsupported(
            f"model2vec cannot distil the model here: {error}. If its extra 'distill' needs other versions than "
            "this environment has, distil in a separate environment and give the result as static_model=FOLDER."
        ) from error

    distill(model_name=source, device="cpu").save_pretrained(str(target))


def check_static(folder: Path) -> None:
    """Raise FileNotFoundError if a folder has no static model: model2vec would ask a hub for it."""
    if not any(folder.rglob(STATIC_WEIGHTS)):
        raise FileNotFoundError(
            f"{folder.absolute()} has no {STATIC_WEIGHTS}. Give the folder that StaticModel.save_pretrained() wrote."
        )
