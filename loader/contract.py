"""The contract between engines and everything else. Types only: nothing imports this module at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .model.source import ModelFolder
    from .text.tokenizer import TextTokenizer

TextKind = Literal["query", "document"]
"""Which of the model's prompts, if any, goes before the text."""


Vectors = NDArray[np.float32] | bytearray
"""Vectors of some texts: an array of shape (texts, dimension), or, from an engine that does without NumPy, the same
numbers row by row in the machine's byte order."""


class Model(Protocol):
    """What an engine is given to load: the part of ``loader.model_parts.ModelParts`` that engines use.

    Every method raises ModelError if the model's files are missing or damaged.
    """

    def folder(self) -> ModelFolder:
        """Return the location of the model's files, which are complete and of plausible size."""

    def tokenizer(self) -> TextTokenizer:
        """Return the tokenizer; raises ModelUnsupportedError if the model has none that this library reads."""

    def artifact(self, engine: str, precision: str) -> str:
        """Return the folder of a prepared form of the model, for an engine and one of its precisions.

        Raises:
            ArtifactError: there is none.
            CompileError, CacheError: it had to be made, and could not be.
        """


class Engine(Protocol):
    """A loaded model. Many threads may use one object at once."""

    @property
    def name(self) -> str:
        """The engine's name in ``loader.engines.ENGINES``."""

    @property
    def precision(self) -> str:
        """The precision that it computes in, for instance ``"float32"``."""

    @property
    def device(self) -> str:
        """Where it computes, for instance ``"cpu"``."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    def max_seq_length(self) -> int | None:
        """The longest sequence in tokens, special tokens included; longer texts are truncated. None if unlimited."""

    @property
    def fork_safe(self) -> bool:
        """Whether a forked child may keep using it."""

    @property
    def batch_invariant(self) -> bool:
        """Whether a text's vector is independent of the other texts in its batch, to a cosine of 0.99999."""

    def encode(self, texts: list[str], kind: TextKind, batch_size: int) -> Vectors:
        """Return the vectors of at least one valid text, not necessarily normalised."""


class EngineModule(Protocol):
    """What ``loader/engines/<name>.py`` offers."""

    FORK_SAFE: bool
    """Whether a child forked after the engine was imported can still load it."""

    def open_engine(self, model: Model, device: str | None, precision: str, threads: int | None) -> Engine:
        """Load the model; call ``GATE.checkpoint()`` between native steps.

        Args:
            model: its files and its tokenizer.
            device: None for the best one available.
            precision: one of the engine's precisions.
            threads: threads for one run of the model, None for the engine's default.

        Raises:
            DeviceError: the device is not available.
            ModelUnsupportedError: the engine does not support the model; another one may.
            Exception: anything else; the caller wraps it.
        """
