"""The reference engine: sentence-transformers on PyTorch. Any architecture, any device, seconds to import."""

import os
import threading
from contextlib import contextmanager

import numpy as np

from ..artifacts import is_artifact
from ..errors import DeviceError, ModelUnsupportedError
from ..exit_gate import GATE
from ..forks import come_first
from ..model.config_files import module_folders, read_facts, transformer_folder
from ..model.safetensors import WatchedFile
from ..model.weight_files import SINGLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from ..contract import Engine, Model, TextKind

FORK_SAFE = False  # PyTorch's OpenMP threads do not survive a fork, and the child would wait for them forever

_progress_bar_lock = threading.Lock()


class SentenceTransformersEngine:
    """A SentenceTransformer behind the engine contract."""

    name = "sentence_transformers"
    precision = "float32"
    fork_safe = FORK_SAFE
    batch_invariant = True

    def __init__(self, model: "SentenceTransformer", weights: list[WatchedFile]) -> None:
        self._model = model
        self._weights = weights
        # Every call reconfigures the tokenizer, which fails with "Already borrowed" if two threads do it at once.
        self._lock = threading.Lock()
        self.device = str(model.device)
        dimension = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        self.dimension = int(dimension())
        longest = model.max_seq_length
        if longest == float("inf"):  # a static model: the length its tokenizer truncates to, if any
            longest = (model.tokenizer.truncation or {}).get("max_length")
        # None and 1e30 both mean that there is no limit.
        self.max_seq_length = longest if longest is not None and longest < 2**31 else None

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.contract.Engine``."""
        method = self._model.encode_query if kind == "query" else self._model.encode_document
        # Sorted by length, as the library does, so that a run is one of its batches. On other devices runs are short.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        size = batch_size if self.device == "cpu" else len(texts)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(order), size):
            run = order[start : start + size]
            self._check_unchanged()
            with self._lock:
                vectors[run] = method(
                    [texts[index] for index in run],
                    batch_size=batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
            GATE.checkpoint()
        self._check_unchanged()  # they may have been written to during the last run
        return vectors

    def _check_unchanged(self) -> None:
        for file in self._weights:
            file.check_unchanged()


def open_engine(model: "Model", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Load the model; see ``loader.contract.EngineModule``.

    ``threads`` sets PyTorch's own number of threads, which is one per process.
    """
    folder = model.folder().path
    if is_artifact(folder) and not os.path.exists(os.path.join(transformer_folder(folder), SINGLE)):
        raise ModelUnsupportedError(f"{folder} was prepared for other engines and has no original weights.")
    _let_forks_wait_first()
    import torch

    GATE.checkpoint()
    _check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    from sentence_transformers import SentenceTransformer

    GATE.checkpoint()
    weights = _weights(folder)
    with _no_progress_bar():
        loaded = SentenceTransformer(
            folder,
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    _cut_to_positions(loaded, read_facts(folder).max_seq_length)
    # Weights stored in half precision load as such; this engine promises float32.
    loaded = loaded.float()
    return SentenceTransformersEngine(loaded, weights if str(loaded.device) == "cpu" else [])


def _let_forks_wait_first() -> None:
    """Import the modules that hold a lock during a fork, and that PyTorch needs from its first lines on.

    A fork that already holds such a lock must pass here, not seconds later, when this thread would wait for the lock.
    """
    import concurrent.futures.thread  # noqa: F401
    import logging  # noqa: F401

    come_first()
    GATE.checkpoint()


def _weights(folder: str) -> list[WatchedFile]:
    """Return the weight files in the folders of the model's modules: PyTorch maps them and computes from there."""
    return [
        WatchedFile(os.path.join(place, name))
        for place in module_folders(folder)
        if os.path.isdir(place)
        for name in sorted(os.listdir(place))
        if name.endswith(".safetensors")
    ]


def _cut_to_positions(model: "SentenceTransformer", longest: int | None) -> None:
    """Limit texts to the model's positions: sentence-transformers would fail on longer ones."""
    if longest is not None and model.max_seq_length is not None and longest < model.max_seq_length < float("inf"):
        model.max_seq_length = longest


def _check_device(device: str | None) -> None:
    import torch

    kind, _, index = (device or "cpu").partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device='cuda' is not available: PyTorch finds no CUDA device. Use device='cpu' or None.")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"device={device!r} is not available: there are {torch.cuda.device_count()} CUDA devices.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device='mps' is not available: PyTorch finds no such device. Use device='cpu' or None.")


@contextmanager
def _no_progress_bar() -> "Iterator[None]":
    """Keep transformers from drawing on the user's terminal while it loads weights."""
    from transformers.utils import logging as progress

    with _progress_bar_lock:
        enabled = progress.is_progress_bar_enabled()
        progress.disable_progress_bar()
        try:
            yield
        finally:
            if enabled:
                progress.enable_progress_bar()
