"""The reference engine: sentence-transformers on PyTorch. Any architecture, any device, seconds to import."""

import os
import threading
from contextlib import contextmanager

import numpy as np

from ..artifacts.manifest import is_artifact
from ..errors import DeviceError, ModelUnsupportedError
from ..exitgate import GATE
from ..modelfiles import transformer_folder
from ..weights import SINGLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from ..parts import ModelParts
    from .base import Engine, TextKind

FORK_SAFE = False  # PyTorch's OpenMP threads do not survive a fork, and the child waits for them for ever

_progress_bar_lock = threading.Lock()


class SentenceTransformersEngine:
    """A SentenceTransformer behind the engine contract."""

    name = "sentence_transformers"
    precision = "float32"
    fork_safe = FORK_SAFE
    batch_invariant = True

    def __init__(self, model: "SentenceTransformer") -> None:
        self._model = model
        # The tokenizer is reconfigured by every call and fails with "Already borrowed" where two threads do it.
        self._lock = threading.Lock()
        self.device = str(model.device)
        dimension = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        self.dimension = int(dimension())
        self.max_seq_length: int | None = model.max_seq_length

    def encode(self, texts: list[str], kind: "TextKind", batch_size: int) -> "NDArray[np.float32]":
        """Return the vectors of the texts; see ``loader.engines.base.Engine``."""
        method = self._model.encode_query if kind == "query" else self._model.encode_document
        with self._lock:
            vectors = method(texts, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32)


def open_engine(model: "ModelParts", device: str | None, precision: str, threads: int | None) -> "Engine":  # noqa: ARG001
    """Load the model; see ``loader.engines.base.EngineModule``.

    ``threads`` sets PyTorch's own number of threads, which is one per process.
    """
    folder = model.folder().path
    if is_artifact(folder) and not os.path.exists(os.path.join(transformer_folder(folder), SINGLE)):
        raise ModelUnsupportedError(f"{folder} was prepared for other engines, without the weights of the original.")
    import torch

    GATE.checkpoint()
    _check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    from sentence_transformers import SentenceTransformer

    GATE.checkpoint()
    with _no_progress_bar():
        loaded = SentenceTransformer(
            folder,
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    # Weights stored in half precision load as such; this engine promises float32.
    return SentenceTransformersEngine(loaded.float())


def _check_device(device: str | None) -> None:
    import torch

    kind, _, index = (device or "cpu").partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device='cuda' was asked for, but PyTorch sees no CUDA device. Use device='cpu' or None.")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"device={device!r} was asked for, but there are {torch.cuda.device_count()} CUDA devices.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device='mps' was asked for, but PyTorch sees none. Use device='cpu' or None.")


@contextmanager
def _no_progress_bar() -> "Iterator[None]":
    """Keep transformers from drawing on the user's terminal while it loads weights."""
    from transformers.utils import logging

    with _progress_bar_lock:
        enabled = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if enabled:
                logging.enable_progress_bar()
