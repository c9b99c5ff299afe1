"""Making an artifact: from a model folder to a folder that engines open. Runs in its own child process.

``python -m loader.artifacts.build MODEL_FOLDER NAME PRECISION TARGET`` (or ``safetensors`` as the precision, for
``loader.artifacts.unpickle``) prints one JSON object per line: ``{"step": ...,
"done": ...}`` with a number from 0 to 1 while it works, then ``{"made": true}`` or ``{"failed": ..., "kind": ...}``.
"""

import os
import platform
import shutil
import sys
import threading
import time

from ..encoder.families import EncoderConfig
from ..errors import CompileError, EngineMissingError, LoaderError, ModelUnsupportedError
from ..model.file_hash import sha256_of
from ..model.pipeline import Pipeline
from ..model.safetensors import MappedTensors
from ..model.weight_files import SINGLE, weight_files
from ..model_parts import ModelParts
from ..vectors import as_array
from . import FILE, GRAPH, INT8_WEIGHTS, SAFETENSORS
from .inputs import SMALL_FILES, source_files
from .manifest import FileEntry, Manifest
from .parity import TEXTS, compare, probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    import numpy as np
    from numpy.typing import NDArray

    Report = Callable[[str, float], None]

_MAX_SMALL_BYTES: "Final" = 64 * 2**20
VERSIONS: "Final" = ("optimized-embedding-loader", "numpy", "tokenizers", "onnx", "onnxruntime", "torch")


class Builder:
    """Makes one artifact in an empty folder.

    Attributes:
        pipeline: the model's modules.
        config: its encoder's numbers, or None for an architecture that only an exporter supports.
    """

    def __init__(self, source: str, name: str, precision: str, target: str, report: "Report") -> None:
        self.source = source
        self.name = name
        self.precision = precision
        self.target = target
        self.report = report
        self.pipeline = Pipeline(source)
        self.config: EncoderConfig | None = None
        if self.pipeline.is_static:
            raise ModelUnsupportedError(
                f"{source} is a table of vectors: there is nothing to prepare, and it has no 8-bit form."
            )
        try:
            self.config = EncoderConfig(self.pipeline.config, self.pipeline.transformer)
        except ModelUnsupportedError:
            if precision != "float32":
                raise

    def build(self) -> None:
        """Make the artifact.

        Raises:
            LoaderError: it cannot be made; the caller discards the target.
            OSError: the target cannot be written.
        """
        begun = time.monotonic()
        self.report("reading the model", 0.0)
        source = source_files(self.pipeline)
        self.report("copying its description", 0.1)
        self._copy_description()
        self.report("writing weights", 0.15)
        engines = self._write_quantized() if self.precision == "int8" else self._write_float32()
        self.report("computing reference vectors", 0.6)
        reference = self._reference()
        parity = {}
        for number, engine in enumerate(engines):
            self.report(f"comparing the vectors of {engine}", 0.7 + 0.1 * number)
            parity[engine] = compare(self._vectors(engine), reference, self.precision)
        self.report("hashing", 0.9)
        files = tuple(_entry(self.target, name) for name in _walk(self.target))
        manifest = Manifest(
            self.name,
            self.precision,
            engines,
            source,
            files,
            parity,
            probes(reference) if "onnx" in engines else {},
            _versions(),
            round(time.monotonic() - begun, 3),
        )
        with open(os.path.join(self.target, FILE), "xb") as file:
            file.write(manifest.to_json())
        _flush(self.target)

    def _copy_description(self) -> None:
        """Copy the files that describe model and tokenizer, and the weights of Dense layers."""
        for folder in dict.fromkeys([self.source, self.pipeline.transformer, *self._module_folders()]):
            kept = os.path.join(self.target, os.path.relpath(folder, self.source))
            os.makedirs(kept, mode=0o700, exist_ok=True)
            dense = any(folder == layer.folder for layer in self.pipeline.dense)
            for name in sorted(os.listdir(folder)):
                path = os.path.join(folder, name)
                is_small = name.endswith(SMALL_FILES) and name != FILE and not name.endswith(".index.json")
                is_wanted = os.path.isfile(path) and (is_small or (dense and name == SINGLE))
                if is_wanted and os.stat(path).st_size <= _MAX_SMALL_BYTES:
                    _copy(path, os.path.join(kept, name))

    def _module_folders(self) -> list[str]:
        return [path for path in self.pipeline.folders if os.path.isdir(path)]

    @property
    def _kept_transformer(self) -> str:
        return os.path.normpath(os.path.join(self.target, os.path.relpath(self.pipeline.transformer, self.source)))

    def _write_quantized(self) -> tuple[str, ...]:
        from .quantize import write_quantized

        assert self.config is not None  # noqa: S101 - checked by the constructor
        weights = os.path.join(self._kept_transformer, INT8_WEIGHTS)
        write_quantized(MappedTensors(weight_files(self.pipeline.transformer)), self.config, weights)
        if not _can_write_graphs():
            return ("numpy",)
        self._write_graph(weights)
        return ("numpy", "onnx")

    def _write_float32(self) -> tuple[str, ...]:
        if not _can_write_graphs():
            raise CompileError(
                "Preparing a model in full precision needs the packages onnx and onnxruntime: "
                "python -m pip install 'optimized-embedding-loader[onnx]'"
            )
        if self._is_known():
            self._write_graph(self._copy_weights())
            return ("numpy", "onnx")
        from .export import export_with_torch, own_graph, write_own_graph

        self.report("exporting the graph", 0.3)
        graph, own = os.path.join(self.target, GRAPH), own_graph(self.source)
        if own:
            write_own_graph(self.pipeline, own, graph)
        else:
            export_with_torch(self.pipeline, graph)
        return ("onnx",)

    def _is_known(self) -> bool:
        """Whether the encoder belongs to a family and has no extra parts that only an exporter supports."""
        from ..encoder.weights import EncoderWeights

        if self.config is None:
            return False
        try:
            EncoderWeights(MappedTensors(weight_files(self.pipeline.transformer)), self.config, self.source)
        except ModelUnsupportedError:
            return False
        return True

    def _copy_weights(self) -> str:
        """Copy the used weights as float32 into one file; return its path."""
        from .quantize import write_float32

        assert self.config is not None  # noqa: S101 - the caller's condition
        tensors = MappedTensors(weight_files(self.pipeline.transformer))
        weights = os.path.join(self._kept_transformer, SINGLE)
        write_float32(tensors, self.config, weights)
        return weights

    def _write_graph(self, weights: str) -> None:
        from .graph import write_encoder_graph

        assert self.config is not None  # noqa: S101 - the caller's condition
        self.report("writing the graph", 0.5)
        # Beside the weights, whose byte ranges it names.
        write_encoder_graph(self.pipeline, self.config, weights, os.path.join(self._kept_transformer, GRAPH))

    def _reference(self) -> "NDArray[np.float32]":
        """Return the vectors of the original model."""
        from ..arguments import Settings
        from ..engines import candidates
        from ..loading.stages import open_first

        settings, parts = Settings(self.source, device="cpu"), ModelParts.of_folder(self.source)
        able = candidates(settings.engine, settings.device, settings.precision)
        try:
            engine = open_first(parts, [spec for spec in able if spec.name != "onnx"], settings)
        except EngineMissingError:
            return self._own_reference(parts)
        return as_array(engine.encode(list(TEXTS), "document", 8), engine.dimension)

    def _own_reference(self, parts: ModelParts) -> "NDArray[np.float32]":
        """Return the vectors of the model's own ONNX file, if no installed engine supports the original.

        Raises:
            EngineMissingError: there is no such file.
        """
        from .export import own_graph, own_vectors

        own = own_graph(self.source)
        if own is None:
            raise EngineMissingError(
                f"{self.source} cannot be compared with the original without PyTorch: "
                "python -m pip install 'optimized-embedding-loader[compile]'"
            )
        tokenizer, prompt = parts.tokenizer(), self.pipeline.prompts["document"]
        tokens = [tokenizer.encode(prompt + text, self.pipeline.max_seq_length) for text in TEXTS]
        return own_vectors(self.pipeline, own, tokens)

    def _vectors(self, engine: str) -> "NDArray[np.float32]":
        if engine == "numpy":
            from ..engines.numpy import open_folder
        else:
            from ..engines.onnx import open_folder
        opened = open_folder(ModelParts.of_folder(self.target), self.target, self.precision, None)
        # Enough at once that the engine uses its second session, which single texts do not use.
        return as_array(opened.encode(list(TEXTS), "document", len(TEXTS)), opened.dimension)


def _can_write_graphs() -> bool:
    from importlib.util import find_spec

    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def _copy(source: str, target: str) -> None:
    """Copy only the content: neither links nor permissions."""
    with open(source, "rb") as original, open(target, "xb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)


def _walk(folder: str) -> list[str]:
    names = []
    for root, _, files in os.walk(folder):
        names += [os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/") for name in files]
    return sorted(names)


def _entry(folder: str, name: str) -> FileEntry:
    path = os.path.join(folder, name)
    return FileEntry(name, os.stat(path).st_size, sha256_of(path))


def _flush(folder: str) -> None:
    """Flush everything to the disk: a power cut must not leave a manifest without its files."""
    for root, _, files in os.walk(folder):
        for name in [*files, "."]:
            try:
                descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            except OSError:
                continue  # not every system can open folders
            try:
                os.fsync(descriptor)
            except OSError:
                if name != ".":
                    raise
            finally:
                os.close(descriptor)


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "onnxruntime" in sys.modules:
        found["onnxruntime"] = sys.modules["onnxruntime"].__version__  # whichever distribution provides it
    found["machine"] = platform.machine()
    return found


def _end_with_parent() -> None:
    """End this process as soon as its standard input, which the parent holds open, is closed."""
    while os.read(0, 64):
        pass
    os._exit(1)


def _main() -> int:
    import json

    os.umask(0o077)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever exporters print must not mix with the answers

    def say(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    source, name, precision, target = sys.argv[1:]
    try:
        if precision == SAFETENSORS:
            from .unpickle import convert

            convert(source, target, lambda step, done: say(step=step, done=done))
            _flush(target)
        else:
            Builder(source, name, precision, target, lambda step, done: say(step=step, done=done)).build()
    except LoaderError as error:
        say(failed=str(error), kind=type(error).__name__)
        return 1
    except OSError as error:
        say(failed=f"{error.filename or target}: {error.strerror or error}", kind="CacheError")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the library, the error must reach the parent
        say(failed=f"{type(error).__name__}: {error}", kind="CompileError")
        return 1
    say(made=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(_main())
