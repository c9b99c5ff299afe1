"""A peer: OpenVINO, on the same model, from local files, with its cache of compiled models.

``bench.measure.prepare`` makes the files: one ONNX file that returns token vectors, the tokenizer, and
``PIPELINE_FILE``. OpenVINO gets the file's path and a folder for its cache, which its documentation recommends for a
fast start; the preparation fills the cache.

Two things differ from its defaults:

* ``INFERENCE_PRECISION_HINT`` is ``f32``. On processors with the instructions for it, OpenVINO computes 32-bit models
  in bfloat16 by default; its vectors would differ from the reference's.
* ``openvino_telemetry`` cannot be imported. With it, importing OpenVINO creates a file in the user's home folder and
  starts a process that reports the import to a server, and exiting may wait for that. A measurement must do neither;
  OpenVINO is designed to run without that package.
"""

from bench.subjects import LoadsWhenConstructed, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PIPELINE_FILE = "pipeline.json"
"""What the ONNX file lacks, as JSON: ``max_tokens`` (longest sequence, or null), ``pooling`` (list of modes),
``dense_layers`` (number of layers after the pooling), ``normalizes``."""

CACHE_FOLDER = "openvino-cache"
"""Where OpenVINO keeps compiled models, below the peer's folder."""


class Subject(LoadsWhenConstructed):
    """``Core().compile_model("model.onnx", "CPU", {"CACHE_DIR": folder})``, tokenizer before it, pooling after it."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import and construct; there is nothing to start."""
        import sys

        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # importing it fails, as if not installed
        try:
            import numpy  # noqa: F401 - pooling needs it; OpenVINO imports it anyway
            from openvino import Core
            from tokenizers import Tokenizer
        except ImportError as error:
            raise Unsupported(f"openvino cannot be imported: {error}") from error

        mark("imported")
        folder, device = self._options["peer_folder"], self._options["device"]
        if not folder:
            raise Unsupported(self._options.get("peer_error") or "no ONNX file could be created")
        if device not in {"auto", "cpu"}:
            raise Unsupported(f"openvino is not measured on {device}")
        pipeline = _read_pipeline(f"{folder}/{PIPELINE_FILE}")
        self._normalizes = pipeline["normalizes"]
        self._tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self._tokenizer.no_padding()
        if pipeline["max_tokens"]:
            self._tokenizer.enable_truncation(pipeline["max_tokens"])
        properties: dict[str, object] = {
            "CACHE_DIR": f"{folder}/{CACHE_FOLDER}",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if self._options["threads"]:
            properties["INFERENCE_NUM_THREADS"] = int(self._options["threads"])
        self._model = Core().compile_model(f"{folder}/model.onnx", "CPU", properties)
        self._request = self._model.create_infer_request()
        self._inputs = [port.any_name for port in self._model.inputs]
        mark("constructed")
        mark("started")

    def embed(self, text: str) -> "Iterable[float]":
        """Return the vector of a text."""
        import numpy as np

        encoding = self._tokenizer.encode(text)
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        result = self._request.infer({name: np.array([given[name]], np.int64) for name in self._inputs})
        vector = result[0][0].mean(axis=0)  # one text, so there is no padding
        if self._normalizes:
            vector /= np.linalg.norm(vector)
        pooled: Iterable[float] = vector
        return pooled

    def facts(self) -> dict[str, object]:
        """Return facts about what answered, and whether OpenVINO compiled the model or took it from its cache."""
        from importlib.metadata import version

        precision = self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return {
            "engine": "openvino",
            "precision": {"f32": "float32"}.get(precision, precision),
            "device": "cpu",
            "version": version("openvino"),
            "loaded_from_cache": bool(self._model.get_property("LOADED_FROM_CACHE")),
        }


def _read_pipeline(path: str) -> "dict[str, object]":
    import json

    with open(path, encoding="utf-8") as file:
        pipeline: dict[str, object] = json.load(file)
    if pipeline["pooling"] != ["mean"] or pipeline["dense_layers"]:
        layers = f" and {pipeline['dense_layers']} layers after it" if pipeline["dense_layers"] else ""
        raise Unsupported(f"openvino is only measured with mean pooling; the model has {pipeline['pooling']}{layers}")
    return pipeline
