"""ONNX Runtime over an artifact: the highest throughput on a CPU, and encoders that the NumPy engine does not support.

Two sessions over the same mapped weights. The first answers single texts: it leaves the weights as they are, so it
opens in milliseconds. The second is opened for many texts: it repacks the weights once and runs each batch on one
processor, several batches in parallel, which gives more texts per second than one batch on several processors.
"""

import ctypes
import os
import threading
from weakref import WeakSet

import numpy as np
import onnxruntime

from ..artifacts import GRAPH
from ..artifacts.parity import prove
from ..errors import ShutdownError, lacking
from ..exit_gate import GATE, LoadInterrupted
from ..forks import after_fork_in_child
from ..model.pipeline import Pipeline
from ..model.safetensors import WatchedFile
from ..profile import usable_processors
from ..runtime.log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from numpy.typing import NDArray

    from ..contract import Engine, Model, TextKind
    from ..text.tokenizer import TextTokenizer

FORK_SAFE = False  # its thread pool does not survive a fork

MANY_TEXTS: "Final" = 16
"""The second session is used for calls with at least this many texts."""
TOKENS_PER_RUN: "Final" = 512
"""Tokens of equally long texts that are computed together."""


class OnnxEngine:
    """Sessions over one graph behind the engine contract."""

    name = "onnx"
    device = "cpu"
    fork_safe = FORK_SAFE
    batch_invariant = True  # 8 bits too: a scale for each token, see docs/decisions/0007-eight-bits.md

    def __init__(self, pipeline: Pipeline, tokenizer: "TextTokenizer", precision: str, threads: int | None) -> None:
        self.precision = precision
        self._path = graph_path(pipeline)
        # What the sessions map.
        beside = os.path.dirname(self._path)
        weights = [name for name in sorted(os.listdir(beside)) if name.endswith((".safetensors", ".data"))]
        self._weights = [WatchedFile(os.path.join(beside, name)) for name in weights]
        self._tokenizer = tokenizer
        self._prompts = pipeline.prompts
        self._threads = threads or usable_processors()
        # 8-bit weights are always repacked: that costs next to nothing, and they are slow otherwise.
        self._single = _session(self._path, self._threads, prepack=precision == "int8")
        self._many: onnxruntime.InferenceSession | None = None
        self._lock = threading.Lock()
        self.dimension = int(self._single.get_outputs()[0].shape[1])
        pipeline.check_dimension(self.dimension)
        self.max_seq_length = pipeline.max_seq_length
        _engines.add(self)

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.contract.Engine``."""
        self._check_unchanged()
        prompt = self._prompts[kind]
        tokens = [self._tokenizer.encode(prompt + text, self.max_seq_length) for text in texts]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        runs = _runs(tokens, batch_size)
        if len(texts) < MANY_TEXTS:
            for run in runs:
                self._check_unchanged()
                _compute(self._single, run, tokens, vectors)
                GATE.checkpoint()
        else:
            self._side_by_side(iter(runs), tokens, vectors)
        self._check_unchanged()  # they may have been written to during the last run
        return vectors

    def _check_unchanged(self) -> None:
        for file in self._weights:
            file.check_unchanged()

    def _side_by_side(
        self, runs: "Iterator[list[int]]", tokens: list[list[int]], vectors: "NDArray[np.float32]"
    ) -> None:
        """Compute the runs in several threads, including this one; all end before this returns."""
        session, turn = self._session_for_many(), threading.Lock()
        errors: list[BaseException] = []
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                GATE.checkpoint()
                with turn:
                    run = next(runs, None)
                if run is None:
                    return
                try:
                    self._check_unchanged()
                    _compute(session, run, tokens, vectors)
                except BaseException as error:  # noqa: BLE001 - raised again below, in the calling thread
                    errors.append(error)
                    stopped.set()

        def help_out() -> None:
            try:
                with GATE.section():  # this thread may go on for a moment if the caller is interrupted
                    work()
            except (ShutdownError, LoadInterrupted):
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
            with GATE.idle():  # a helper that has not begun waits for the end of a fork
                for helper in started:
                    helper.join()
        if errors:
            raise errors[0]

    def _session_for_many(self) -> onnxruntime.InferenceSession:
        problem: Exception | None = None
        with self._lock:
            if self._many is None:
                try:
                    self._many = _session(self._path, 1, prepack=True)
                except Exception as error:  # noqa: BLE001 - the artifact may have been removed while it was open
                    problem = error
                    self._many = self._single
            session = self._many
        if problem is not None:
            log("info", "%s cannot be opened for many texts: %s", self._path, problem)
        return session

    def after_fork_in_child(self) -> None:
        """Keep the sessions forever: destroying one would wait for threads that do not exist in this process."""
        for session in (self._single, self._many):
            if session is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


_engines: "WeakSet[OnnxEngine]" = WeakSet()


def _after_fork_in_child() -> None:
    """Let this process end, although neither the sessions' threads nor the library's own exist in it.

    Importing ONNX Runtime starts a thread. At exit, after Python's own clean-up, the library destroys what that thread
    waits for, and glibc waits until no thread does. So the process ends before that handler, with C's streams flushed.
    """
    for engine in _engines:
        engine.after_fork_in_child()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # which glibc has
        # Handlers are called in reverse order of registration, with the exit status as the argument.
        libc.on_exit(libc._exit, None)
        libc.on_exit(libc.fcloseall, None)


after_fork_in_child(_after_fork_in_child, first=True)  # others release engines that can no longer be used


def graph_path(pipeline: Pipeline) -> str:
    """Return the path of the graph: beside the transformer's weights, or in the artifact's folder."""
    beside = os.path.join(pipeline.transformer, GRAPH)
    return beside if os.path.isfile(beside) else os.path.join(pipeline.folder, GRAPH)


def _runs(tokens: list[list[int]], batch_size: int) -> list[list[int]]:
    """Return the texts of each run: texts of the same length, the longest first."""
    # A text without tokens has nothing to pool; the provider rejects its zeros.
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
    # The graph is written with fused operators: there is nothing to optimise, and trying takes time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    # Waiting threads must not spin: the program has other work to do.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        lack = lacking(path, error)
        if lack is None:
            raise
        raise lack from error


def open_engine(model: "Model", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Open the model's artifact; see ``loader.contract.EngineModule``."""
    return open_folder(model, model.artifact("onnx", precision), precision, threads)


def open_folder(model: "Model", folder: str, precision: str, threads: int | None) -> "Engine":
    """Open the graph of an artifact. Raises as ``open_engine``."""
    GATE.checkpoint()
    engine = OnnxEngine(Pipeline(folder), model.tokenizer(), precision, threads)
    prove(folder, engine, onnxruntime.__version__)
    return engine
