"""The stages of a load. A strategy's row in ``loader.strategies`` names its stages in order.

Each stage runs in the loader thread, inside the exit gate.
"""

from ..artifacts import is_artifact
from ..engines import AUTO, candidates, missing_error
from ..errors import (
    ArtifactError,
    EngineMissingError,
    ForkError,
    LoaderError,
    ModelLoadError,
    ModelUnsupportedError,
    is_panic,
)
from ..exit_gate import GATE
from ..forks import enter_engine, tainted
from ..light_threads import import_threading
from ..runtime import READING_ONCE
from ..runtime.collector import COLLECTOR_PAUSE
from ..runtime.log import is_heard, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from ..arguments import Settings
    from ..contract import Engine
    from ..engines import EngineSpec
    from ..load_thread import Load
    from ..local_provider import LocalProvider, Watcher
    from ..model_parts import ModelParts
    from .upgrade import Opener


def metadata(load: "Load") -> None:
    """Read the model's configuration files: milliseconds."""
    load.parts.metadata()


def tokenizer(load: "Load") -> None:
    """Make tokens countable: milliseconds for a BERT tokenizer. A model without tokenizer.json skips this."""
    try:
        load.parts.tokenizer()
    except ModelUnsupportedError as error:
        log("info", "%s", error)


def engine(load: "Load") -> None:
    """Load the model into the first engine that can serve it, and publish the provider."""
    settings, parts = load.settings, load.parts
    specs = candidates(settings.engine, settings.device, settings.precision)
    if is_artifact(parts.folder().path):
        from ..artifacts.manifest import check_offers

        check_offers(parts.folder().path, settings.precision)
    opened = open_first(parts, specs, settings)
    from ..local_provider import LocalProvider
    from ..model.metadata import remember_use

    provider = LocalProvider(settings.model_name, opened)
    parts.check_beside(provider)
    parts.prepare_beside(provider)
    if settings.spec.upgrades and settings.engine == AUTO:
        # Not the load, which holds the provider: unloading a model should free it at once.
        provider.watch(_watcher(settings, lambda spec, device: open_engine(parts, spec, settings.on(device))))
    # Before publishing, not after: whoever waits for the provider should not have to share the interpreter then.
    remember_use(parts.metadata())
    load.publish(provider)
    log("info", "%r is ready after %.3f s", provider, load.duration_s)


def _watcher(settings: "Settings", opener: "Opener") -> "Watcher":
    """Return what looks for a faster engine after many texts; most programs never import that."""

    def watcher(provider: "LocalProvider", texts: int) -> None:
        from .upgrade import watch

        watch(provider, settings, opener, texts)

    return watcher


def open_first(parts: "ModelParts", specs: "list[EngineSpec]", settings: "Settings") -> "Engine":
    """Return the first of the engines that is installed and can serve the model, opened.

    Raises:
        EngineMissingError: no engine is installed, or the installed ones cannot serve the model and another might.
        LoaderError: why every engine failed.
    """
    refusal: LoaderError | None = None
    for spec in specs:
        if spec.missing():
            if not spec.extra:  # what installs it is not what people would guess
                log("info", "%s", missing_error(spec))
            continue
        try:
            return open_engine(parts, spec, settings)
        except (ModelUnsupportedError, ArtifactError, EngineMissingError) as error:
            log("info", "The engine %s cannot serve %s: %s", spec.name, parts.folder().name, error)
            refusal = refusal or error
    lacking = next((spec for spec in specs if spec.missing()), None)
    if lacking is not None:
        advice = missing_error(lacking)
        raise EngineMissingError(f"{refusal} {advice}" if refusal else str(advice)) from refusal
    assert refusal is not None  # noqa: S101 - there is at least one engine, and each one refused
    raise refusal


def open_engine(parts: "ModelParts", spec: "EngineSpec", settings: "Settings") -> "Engine":
    """Import an engine and load the model into it.

    Raises:
        ForkError: the engine was imported before this process was forked, and does not survive a fork.
        LoaderError: a typed error from the engine; anything else becomes a ModelLoadError.
    """
    if tainted(spec.name):
        raise ForkError(
            f"The engine {spec.name} was already imported when this process was forked, so it cannot be used here. "
            "Fork before the first load, or start processes with the 'spawn' or 'forkserver' method."
        )
    folder = parts.folder()
    if spec.name != "native":
        import_threading()  # which NumPy, ONNX Runtime and PyTorch import
    module = spec.module()
    if not module.FORK_SAFE:
        enter_engine(spec.name)
    try:
        with COLLECTOR_PAUSE:
            return module.open_engine(parts, settings.device, settings.precision, settings.threads)
    except LoaderError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise  # such as LoadInterrupted
        raise ModelLoadError(
            f"The engine {spec.name} could not load {folder.path}: {type(error).__name__}: {error}"
        ) from error


def artifact(load: "Load") -> None:
    """Make sure that a prepared model exists for the next use; this load already has what it needs."""
    if load.settings.compile is None and not is_heard():
        return  # all it could do is log a hint
    import_threading()
    from .hint import ensure

    try:
        ensure(load.parts, load.settings)
    except LoaderError as error:
        log("warning", "%s", error)


def warm_up(load: "Load") -> None:
    """Embed a dummy text once the provider is published, unless a caller waited for it and is already using it."""
    if load.provider is not None and not load.awaited:
        load.provider.warm_up()


def service(load: "Load") -> None:
    """Publish a provider that asks the model service, or computes here if no service runs yet."""
    from ..service.client import attach

    attach(load)


def run(load: "Load") -> None:
    """Run the stages of the load's strategy, in order.

    Raises:
        LoadInterrupted: the interpreter is exiting.
        BaseException: whatever a stage raises.
    """
    with COLLECTOR_PAUSE, READING_ONCE:
        for stage in load.settings.spec.stages:
            # No checkpoint: a fork waits for the rest. Slow engines that no child can use have their own.
            GATE.interrupt_if_closed()
            STAGES[stage](load)


STAGES: "Final[dict[str, Callable[[Load], None]]]" = {
    "metadata": metadata,
    "tokenizer": tokenizer,
    "engine": engine,
    "artifact": artifact,
    "warm_up": warm_up,
    "service": service,
}
