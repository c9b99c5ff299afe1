"""The fastest engine to start: a full-precision forward pass in C over the model's own mapped weights, without NumPy.

The kernel is in ``loader/encoder/native``; everything that reads untrusted bytes is here and in the modules that this
one imports.
"""

import os
import sys

from ..artifacts import INT8_WEIGHTS, is_artifact
from ..encoder.families import EncoderConfig
from ..encoder.reader import DenseWeights, WeightReader
from ..errors import EngineMissingError, ModelUnsupportedError
from ..exit_gate import GATE
from ..light_threads import start_thread
from ..model.pipeline import Pipeline
from ..model.safetensors import MappedTensors
from ..model.weight_files import weight_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Final

    from typing_extensions import Buffer

    from .._native import Encoder
    from ..contract import Engine, Model, TextKind
    from ..encoder.reader import Weight

FORK_SAFE = True

ABI: "Final" = 3
"""The version of the kernel's interface that this code calls."""
VARIANT: "Final" = "EMBEDDING_LOADER_KERNEL"
"""Environment variable that forces one of the kernel's instruction sets, or ``none``."""
TOKENS_PER_RUN: "Final" = 1024
"""Tokens that are computed together. More take more memory but no less time."""


def kernel() -> "ModuleType":
    """Return the compiled kernel.

    Raises:
        EngineMissingError: it was not built, does not load here, or belongs to another version of this library.
    """
    if os.environ.get(VARIANT) == "none":
        raise EngineMissingError(f"The compiled kernel is not used, because {VARIANT} is set to none.")
    try:
        from .. import _native
    except ImportError as error:
        raise EngineMissingError(f"The compiled kernel cannot be used: {error}.") from error
    if _native.ABI != ABI:
        raise EngineMissingError(f"The compiled kernel has version {_native.ABI}, but version {ABI} is needed.")
    if sys.byteorder != "little":
        raise EngineMissingError("The compiled kernel needs a little-endian processor.")
    return _native


def variant() -> str:
    """Return the instruction set that the kernel uses here, for instance ``"avx2"``. Raises as ``kernel``."""
    best = str(kernel().VARIANTS[0])
    return os.environ.get(VARIANT) or best


class NativeEngine:
    """The kernel's encoder and the model's tokenizer behind the engine contract."""

    name = "native"
    device = "cpu"
    fork_safe = FORK_SAFE
    batch_invariant = True

    def __init__(
        self, model: "Model", pipeline: Pipeline, tensors: MappedTensors, precision: str, threads: int
    ) -> None:
        native = kernel()
        sizes, embeddings, layers = (_static_parts if pipeline.is_static else _encoder_parts)(pipeline, tensors)
        dense = DenseWeights(pipeline, sizes[0], _floats)
        self._encoder = native.Encoder(
            sizes,
            embeddings,
            layers,
            (pipeline.pooling, tuple(dense.layers)),
            threads,
            os.environ.get(VARIANT) or None,
        )
        if threads > 1 and layers:
            _start_to_touch(self._encoder)
        self.precision = precision
        self.dimension = dense.dimension
        pipeline.check_dimension(self.dimension)
        self._files = [tensors, *dense.files]
        self._tokenizer = model.tokenizer()
        self.max_seq_length = self._tokenizer.max_seq_length
        self._prompts = pipeline.prompts

    @property
    def variant(self) -> str:
        """The instruction set that the kernel uses, for instance ``"avx2"``."""
        variant: str = self._encoder.variant
        return variant

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> bytearray:
        """Return the vectors of the texts; see ``loader.contract.Engine``."""
        prompt = self._prompts[kind]
        tokens = [self._tokenizer.encode(prompt + text, self.max_seq_length) for text in texts]
        vectors = bytearray()
        start = 0
        while start < len(tokens):
            end = _end_of_run(tokens, start, batch_size)
            self._check_unchanged()
            run = self._encoder.encode(tokens[start:end])
            vectors = vectors + run if vectors else run
            GATE.checkpoint()
            start = end
        self._check_unchanged()  # it may have been written to during the last run
        return vectors

    def _check_unchanged(self) -> None:
        for file in self._files:
            file.check_unchanged()


def _encoder_parts(pipeline: Pipeline, tensors: MappedTensors) -> "tuple[Any, Any, tuple[Any, ...]]":
    """Return the sizes, embeddings and layers of a transformer, as the kernel takes them."""
    config = EncoderConfig(pipeline.config, pipeline.transformer)
    reader = WeightReader(tensors, config, pipeline.transformer, floats=_floats, integers=_integers, tables=_table)
    words, positions, token_types, gain, shift = reader.embeddings()
    bias = reader.relative_bias()
    layers = tuple(reader.layer(number) for number in range(config.layers))
    reader.check_all_were_used()
    padding = config.padding if config.family.positions_from_padding else None
    return (
        (config.width, config.heads, config.inner, config.activation, config.epsilon, padding),
        (words, positions, _first_row(token_types, config.width), gain, shift, bias),
        layers,
    )


def _static_parts(pipeline: Pipeline, tensors: MappedTensors) -> "tuple[Any, Any, tuple[Any, ...]]":
    """Return the same of a static model: a table, and nothing else."""
    from ..encoder.static import static_table

    table, width = static_table(tensors, pipeline.transformer, _table)
    return (width, 1, 1, "identity", 1e-12, None), (table, None, None, None, None, None), ()


def _start_to_touch(encoder: "Encoder") -> None:
    """Have the weights' pages ready for the first text: a thread reads some of them beside the rest of the load.

    It only reads memory that the encoder keeps, and ends within milliseconds, or with the process.
    """
    try:
        start_thread(encoder.touch, "embedding-loader:touch")
    except RuntimeError:
        pass  # no thread can be started here or now: the first text reads them itself


def _end_of_run(tokens: list[list[int]], start: int, batch_size: int) -> int:
    """Return where the run that begins at ``start`` ends."""
    end, total = start + 1, len(tokens[start])
    while end < min(len(tokens), start + batch_size) and total + len(tokens[end]) <= TOKENS_PER_RUN:
        total += len(tokens[end])
        end += 1
    return end


def _floats(tensors: MappedTensors, name: str) -> "Buffer":
    """Return a tensor as float32: the mapped bytes themselves if they are stored so, otherwise a copy."""
    dtype, data = tensors.raw(name)
    if dtype == "F32":
        return data if tensors.place(name)[1].start % 4 == 0 else bytearray(data)
    if dtype in {"F16", "BF16"}:
        widened: bytearray = kernel().widen(data, dtype)
        return widened
    raise tensors.not_floats(name)


def _table(tensors: MappedTensors, name: str) -> "Weight":
    """Return a table of vectors: numbers of 16 bits stay where they are, and the kernel widens what it looks up."""
    dtype, data = tensors.raw(name)
    is_in_place = dtype in {"F16", "BF16"} and tensors.place(name)[1].start % 2 == 0
    return (data, dtype) if is_in_place else _floats(tensors, name)


def _integers(tensors: MappedTensors, name: str) -> memoryview:
    dtype, data = tensors.raw(name)
    if dtype != "I8":
        raise ModelUnsupportedError(f"{tensors.place(name)[0]} stores the tensor {name!a} as {dtype}, not as I8.")
    return data


def _first_row(table: "Weight | None", width: int) -> "Buffer | None":
    """Return the first row of a table as float32."""
    if table is None or not isinstance(table, tuple):
        return None if table is None else memoryview(table)[: 4 * width]
    if isinstance(table[1], str):
        row: bytearray = kernel().widen(memoryview(table[0])[: 2 * width], table[1])
        return row
    from array import array

    integers, scales = table
    scale: Any = memoryview(scales).cast("B").cast("f")[0]
    return array("f", [number * scale for number in memoryview(integers).cast("b")[:width]])


def open_engine(model: "Model", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Map the model; see ``loader.contract.EngineModule``.

    ``threads`` is how many threads the kernel may use for one run, by default one for each processor.
    """
    kernel()
    folder = model.folder().path
    if precision == "int8" or is_artifact(folder):
        folder = model.artifact("numpy", precision)  # the same files
    pipeline = Pipeline(folder)
    is_int8 = precision == "int8"
    files = [os.path.join(pipeline.transformer, INT8_WEIGHTS)] if is_int8 else weight_files(pipeline.transformer)
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return NativeEngine(model, pipeline, MappedTensors(files), precision, threads)
