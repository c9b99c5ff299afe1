"""Graphs of encoders that ``loader.artifacts.graph`` does not write.

They are exported by PyTorch, or taken from the ONNX file that came with the model. Both end up in the same form: input
``ids``, no mask, pooling and Dense layers inside, weights beside the graph.
"""

import os

import numpy as np
import onnx

from ..errors import CompileError, LoaderError
from . import GRAPH
from .graph import INPUT, OPSET, Graph, add_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from numpy.typing import NDArray

    from ..model.pipeline import Pipeline

DATA: "Final" = GRAPH + ".data"
OWN_GRAPHS: "Final" = ("onnx/model.onnx", "model.onnx")
"""Where models on the hub keep a full-precision ONNX file."""
_INLINE_BYTES: "Final" = 1024
_TOKEN_VECTORS: "Final" = ("last_hidden_state", "token_embeddings")
_MASK: "Final" = "attention_mask"
_TYPES: "Final" = "token_type_ids"


def own_graph(folder: str) -> str | None:
    """Return the path of the ONNX file that came with a model, or None."""
    paths = (os.path.join(folder, *name.split("/")) for name in OWN_GRAPHS)
    return next((path for path in paths if os.path.isfile(path)), None)


def write_own_graph(pipeline: "Pipeline", path: str, output: str) -> None:
    """Write the graph of the ONNX file that came with the model, with pooling and Dense layers added.

    Raises:
        CompileError: it cannot be read, or its inputs or outputs are not those of an encoder.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's own errors, and OSError
        raise CompileError(f"{path} cannot be read: {error}") from error
    inputs = {value.name for value in model.graph.input} - {value.name for value in model.graph.initializer}
    outputs = {value.name: value for value in model.graph.output}
    tokens = next((name for name in _TOKEN_VECTORS if name in outputs), None)
    if "input_ids" not in inputs or inputs - {"input_ids", _MASK, _TYPES} or tokens is None:
        raise CompileError(
            f"{path} is not an encoder: it has the inputs {sorted(inputs)} and the outputs {sorted(outputs)}."
        )
    width = outputs[tokens].type.tensor_type.shape.dim[-1].dim_value
    if not width:
        raise CompileError(f"{path} does not say how long its token vectors are.")
    version = next((opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), 0)
    try:
        if version < OPSET:
            from onnx.version_converter import convert_version

            model = convert_version(model, OPSET)
        graph = Graph("loader.")
        shape = graph.node("Shape", [INPUT])
        graph.nodes.append(onnx.helper.make_node("Identity", [INPUT], ["input_ids"], name="loader.ids"))
        for name, value in ((_MASK, 1), (_TYPES, 0)):
            if name in inputs:
                fill = onnx.numpy_helper.from_array(np.array([value], np.int64))
                node = onnx.helper.make_node("ConstantOfShape", [shape], [name], name=f"loader.{name}", value=fill)
                graph.nodes.append(node)
        graph.nodes.extend(model.graph.node)
        graph.initializers.extend(model.graph.initializer)
        vectors, dimension = add_head(graph, tokens, pipeline, width)
        graph.save(vectors, dimension, output, like=model)
        _move_weights_out(output)
    except LoaderError:
        raise
    except Exception as error:  # onnx's own errors
        raise CompileError(f"{path} could not be rewritten: {type(error).__name__}: {error}") from error


def own_vectors(pipeline: "Pipeline", path: str, tokens: list[list[int]]) -> "NDArray[np.float32]":
    """Return the vectors of the ONNX file that came with a model: one text at a time, pooled by NumPy."""
    import onnxruntime

    from ..encoder.pooling import Head

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    name = next(name for name in _TOKEN_VECTORS if name in outputs)
    vectors = []
    for numbers in tokens:
        ids = np.array([numbers], np.int64)
        given = {"input_ids": ids, _MASK: np.ones_like(ids), _TYPES: np.zeros_like(ids)}
        found = session.run([name], {value.name: given[value.name] for value in session.get_inputs()})[0][0]
        vectors.append(Head(pipeline, found.shape[1])(np.ascontiguousarray(found.T), [len(numbers)])[0])
    return np.stack(vectors)


def export_with_torch(pipeline: "Pipeline", output: str) -> None:
    """Export a model with PyTorch's exporter; ``output`` and its data file are written.

    Raises:
        CompileError: PyTorch or the exporter's packages are missing, or it failed.
    """
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise CompileError(
            f"Preparing the architecture of {pipeline.folder} needs PyTorch, but {error.name} is not installed: "
            "python -m pip install 'optimized-embedding-loader[compile]'"
        ) from error

    class Vectors(torch.nn.Module):  # type: ignore[misc]
        """The whole model: token numbers in, vectors out."""

        def __init__(self) -> None:
            super().__init__()
            options = {"use_safetensors": True, "attn_implementation": "eager"}
            self.model = SentenceTransformer(
                pipeline.folder, device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs=options
            ).float()

        def forward(self, ids: "Any") -> "Any":
            features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            for module in list(self.model)[: 2 + len(pipeline.dense)]:
                features = module(features)
            return features["sentence_embedding"]

    vectors = Vectors().eval()
    example = torch.full((2, 7), 5, dtype=torch.int64)
    axes = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("tokens", min=1, max=_longest(pipeline))}
    try:
        with torch.no_grad():
            torch.onnx.export(
                vectors,
                (example,),
                output,
                dynamo=True,
                dynamic_shapes=(axes,),
                input_names=[INPUT],
                output_names=["vectors"],
                external_data=True,
                verbose=False,
            )
    except Exception as error:
        raise CompileError(f"PyTorch could not export {pipeline.folder}: {type(error).__name__}: {error}") from error
    _move_weights_out(output)


def _longest(pipeline: "Pipeline") -> int:
    return pipeline.max_seq_length or 512


def _move_weights_out(path: str) -> None:
    """Keep the weights beside the graph in one file, where ONNX Runtime maps them."""
    model = onnx.load(path)
    for stale in (path, os.path.join(os.path.dirname(path), DATA)):
        if os.path.exists(stale):
            os.unlink(stale)
    onnx.save_model(
        model, path, save_as_external_data=True, location=os.path.basename(path) + ".data", size_threshold=_INLINE_BYTES
    )
