"""ONNX Runtime over an artifact: the highest throughput on a CPU, and encoders that the NumPy engine does not know.

Two sessions over the same mapped weights. The first answers single texts: it leaves the weights as they are, so that it
opens in milliseconds. The second is opened when many texts come: it repacks the weights once and runs on one processor
a time, several runs side by side, which gives more texts a second than one run on several processors.
"""

import os
import threading

import numpy as np
import onnxruntime

from ..artifacts.manifest import GRAPH
from ..artifacts.parity import prove
from ..encoder.families import FAMILIES
from ..errors import ShutdownError
from ..exitgate import GATE
from ..log import log
from ..pipeline import Pipeline
from ..profile import usable_processors
from ..safetensors import WatchedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from numpy.typing import NDArray

    from ..parts import ModelParts
    from ..tokenizer import TextTokenizer
    from .base import Engine, TextKind

FORK_SAFE = False  # its thread pool does not survive a fork

MANY_TEXTS: "Final" = 16
"""Texts in one call from which the second session is used."""
TOKENS_PER_RUN: "Final" = 512
"""Tokens of equally long texts that are computed together."""


class OnnxEngine:
    """Sessions over one graph behind the engine contract."""

    name = "onnx"
    device = "cpu"
    fork_safe = FORK_SAFE
    batch_invariant = True  # 8 bits too: a scale for each token, see docs/decisions/0007-eight-bits.md

    def __init__(self, pipeline: Pipeline, tokenizer: "TextTokenizer", precision: str, threads: int | None) -> None:
        tokenizer.check_settings()
        self.precision = precision
        self._path = graph_path(pipeline)
        # What the sessions map.
        beside = os.path.dirname(self._path)
        weights = [name for name in sorted(os.listdir(beside)) if name.endswith((".safetensors", ".data"))]
        self._weights = [WatchedFile(os.path.join(beside, name)) for name in weights]
        self._tokenizer = tokenizer
        self._prompts = pipeline.prompts
        self._threads = threads or usable_processors()
        # 8-bit weights are always repacked; that costs next to nothing and they are slow without.
        self._single = _session(self._path, self._threads, prepack=precision == "int8")
        self._many: onnxruntime.InferenceSession | None = None
        self._lock = threading.Lock()
        self.dimension = int(self._single.get_outputs()[0].shape[1])
        self.max_seq_length = pipeline.max_seq_length
        self._longest = _longest(pipeline)

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.engines.base.Engine``."""
        for file in self._weights:
            file.check_unchanged()
        prompt = self._prompts[kind]
        tokens = [self._tokenizer.encode(prompt + text, self._longest) for text in texts]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        runs = _runs(tokens, batch_size)
        if len(texts) < MANY_TEXTS:
            for run in runs:
                _compute(self._single, run, tokens, vectors)
                GATE.checkpoint()
        else:
            self._side_by_side(iter(runs), tokens, vectors)
        return vectors

    def _side_by_side(
        self, runs: "Iterator[list[int]]", tokens: list[list[int]], vectors: "NDArray[np.float32]"
    ) -> None:
        """Compute the runs in several threads, this one among them; each ends before this returns."""
        with self._lock:
            if self._many is None:
                try:
                    self._many = _session(self._path, 1, prepack=True)
                except Exception as error:  # noqa: BLE001 - the artifact may have been removed while we had it open
                    log("info", "%s cannot be opened for many texts: %s", self._path, error)
                    self._many = self._single
        session, turn = self._many, threading.Lock()
        errors: list[Exception] = []
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                with turn:
                    run = next(runs, None)
                if run is None:
                    return
                try:
                    _compute(session, run, tokens, vectors)
                except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
                    errors.append(error)
                    stopped.set()

        def help_out() -> None:
            try:
                with GATE.section():  # this thread may go on for a moment where the caller is interrupted
                    work()
            except ShutdownError:
                pass  # the caller computes the rest

        helpers = [threading.Thread(target=help_out, daemon=True) for _ in range(self._threads - 1)]
        started = []
        try:
            for helper in helpers:
                helper.start()
                started.append(helper)
        except RuntimeError:
            pass  # the interpreter is exiting, or there are too many: this thread does all of it
        try:
            work()
        finally:
            stopped.set()
            for helper in started:
                helper.join()
        if errors:
            raise errors[0]


def _longest(pipeline: Pipeline) -> int | None:
    """Return the longest sequence that is computed: what the model wants, but no longer than it has positions for."""
    family = FAMILIES.get(str(pipeline.config.get("model_type")))
    positions = pipeline.config.get("max_position_embeddings")
    if family is None or type(positions) is not int:
        return pipeline.max_seq_length
    if family.positions_from_padding:
        positions -= int(pipeline.config.get("pad_token_id") or 1) + 1
    return min(pipeline.max_seq_length or positions, positions)


def graph_path(pipeline: Pipeline) -> str:
    """Return where the graph is: beside the transformer's weights, or in the artifact's folder."""
    beside = os.path.join(pipeline.transformer, GRAPH)
    return beside if os.path.isfile(beside) else os.path.join(pipeline.folder, GRAPH)


def _runs(tokens: list[list[int]], batch_size: int) -> list[list[int]]:
    """Return the texts of each run: equally long ones, the longest first."""
    # A text without any token has nothing to pool; its zeros are refused by the provider.
    order = sorted((index for index in range(len(tokens)) if tokens[index]), key=lambda index: -len(tokens[index]))
    runs: list[list[int]] = []
    for index in order:
        length = len(tokens[index])
        room = min(batch_size, max(TOKENS_PER_RUN // max(length, 1), 1))
        if runs and len(runs[-1]) < room and len(tokens[runs[-1][0]]) == length:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _compute(
    session: onnxruntime.InferenceSession, run: list[int], tokens: list[list[int]], vectors: "NDArray[np.float32]"
) -> None:
    ids = np.array([tokens[index] for index in run], np.int64)
    vectors[run] = session.run(None, {"ids": ids})[0]


def _session(path: str, threads: int, *, prepack: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # The graph is written with fused operators: there is nothing to optimise, and looking for it takes time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    # Threads that wait must not spin: the program has other things to do.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_engine(model: "ModelParts", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Open the model's artifact; see ``loader.engines.base.EngineModule``."""
    return open_folder(model, model.artifact("onnx", precision), precision, threads)


def open_folder(model: "ModelParts", folder: str, precision: str, threads: int | None) -> "Engine":
    """Open the graph of an artifact. Raises as ``open_engine``."""
    GATE.checkpoint()
    engine = OnnxEngine(Pipeline(folder), model.tokenizer(), precision, threads)
    prove(folder, engine, onnxruntime.__version__)
    return engine
