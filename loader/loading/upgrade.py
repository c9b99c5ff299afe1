"""Moving a provider to an engine of higher throughput, once a program turns out to embed many texts.

A program that asks for one vector must not pay for an engine it will not use. So the engine that starts fastest answers
first. After enough texts that opening another engine pays off, a thread opens that one, and it takes over between two
runs. What a caller sees:

* no call waits for the new engine, and none fails because it could not be opened (that is logged);
* a call during the change may return vectors from both engines. They are interchangeable: their cosine for the same
  text is at least ``MIN_COSINE``, checked before the new engine takes over;
* ``provider.engine`` and ``provider.device`` name the current engine and device; nothing else about the provider
  changes.
"""

import threading

from ..engines import AUTO, ENGINES
from ..errors import LoaderError, ShutdownError, release_frames
from ..exit_gate import GATE, LoadInterrupted
from ..local_provider import BULK_TEXTS
from ..profile import ResourceProfile
from ..runtime.log import log
from ..vectors import as_array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from ..arguments import Settings
    from ..contract import Engine
    from ..engines import EngineSpec
    from ..local_provider import LocalProvider

    Opener = Callable[[EngineSpec, str], Engine]

PAYS_AFTER: "Final" = {"onnx": BULK_TEXTS, "sentence_transformers": 5_000}
"""Texts after which opening an engine pays off. Opening ``onnx`` takes about as long as it saves on 200 to 300 short
texts; importing PyTorch takes seconds."""
_MOVES_FROM: "Final" = frozenset({"native", "numpy"})
MIN_COSINE: "Final" = 0.9999
_PROBES: "Final" = ("database connection", "The committee will meet on Thursday to discuss the budget.")


def watch(provider: "LocalProvider", settings: "Settings", open_engine: "Opener", texts: int) -> None:
    """Look at the provider's texts from now on, if there is an engine that it may move to.

    Args:
        provider: the provider.
        settings: what it was loaded for.
        open_engine: loads the same model into another engine, on a device.
        texts: how many it has embedded.
    """
    provider.watch(None)
    if settings.engine == AUTO and settings.device in {None, "cpu"} and provider.engine in _MOVES_FROM:
        upgrade = _Upgrade(settings, open_engine)
        provider.watch(upgrade)
        upgrade(provider, texts)


class _Upgrade:
    """Opens the other engine when that pays off; tries once only."""

    def __init__(self, settings: "Settings", open_engine: "Opener") -> None:
        self._settings = settings
        self._open_engine = open_engine
        self._lock = threading.Lock()
        self._target: tuple[EngineSpec, str] | None = None
        self._looked = False

    def __call__(self, provider: "LocalProvider", texts: int) -> None:
        """Open the other engine if it pays off after so many texts."""
        with self._lock:
            if not self._looked:
                self._looked = True
                self._target = _target(self._settings, provider.engine)
            if self._target is None:
                provider.watch(None)
                return
            if texts < PAYS_AFTER[self._target[0].name]:
                return
            provider.watch(None)
        thread = threading.Thread(target=self._run, args=(provider,), name="embedding-loader:upgrade", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            log("info", "Could not start a thread for a faster engine: %s", error)

    def _run(self, provider: "LocalProvider") -> None:
        assert self._target is not None  # noqa: S101 - set before the thread was made
        spec, device = self._target
        try:
            with GATE.section():
                self._open(provider, spec, device)
        except ShutdownError:
            pass  # the interpreter is exiting

    def _open(self, provider: "LocalProvider", spec: "EngineSpec", device: str) -> None:
        try:
            engine = self._open_engine(spec, device)
            GATE.checkpoint()
            _change(provider, engine)
        except LoadInterrupted:
            pass  # the interpreter is exiting
        except BaseException as error:  # noqa: BLE001 - nobody waits for it, and the provider works on as it is
            release_frames(error)
            why = error if isinstance(error, LoaderError) else f"{type(error).__name__}: {error}"
            log("info", "%s stays with the engine %s: %s", provider.model_name, provider.engine, why)


def _target(settings: "Settings", current: str) -> "tuple[EngineSpec, str] | None":
    """Return the best engine on this machine for many texts, and its device; None if the current one is as good."""
    device = ResourceProfile.detect().recommended_device if settings.device is None else "cpu"
    for spec in ENGINES:
        if spec.name in PAYS_AFTER and device in spec.devices and not spec.missing():
            if device == "cpu" and (spec.name == "sentence_transformers" or current == "native"):
                continue  # not enough faster to be worth its memory
            return spec, device
    return None


def _change(provider: "LocalProvider", engine: "Engine") -> None:
    least = _agreement(provider.engine_in_use, engine)
    if not least >= MIN_COSINE:
        log(
            "warning",
            "%s: the vectors of %s differ (cosine %.6f); it is not used",
            provider.model_name,
            engine.name,
            least,
        )
        return
    previous = provider.engine
    provider.change_engine(engine)
    log("info", "%s moved from the engine %s to %s", provider.model_name, previous, engine.name)


def _agreement(one: "Engine", other: "Engine") -> float:
    if one.dimension != other.dimension:
        return 0.0
    import numpy as np

    left, right = (
        as_array(engine.encode(list(_PROBES), "document", len(_PROBES)), engine.dimension) for engine in (one, other)
    )
    products = np.sum(left * right, axis=1)
    return float(np.min(products / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))))
