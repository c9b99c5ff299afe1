"""What a load does, stage by stage. A strategy's row in ``loader.strategies`` names the stages in order.

Each stage runs in the loader thread, inside the exit gate.
"""

from .collector import COLLECTOR_PAUSE
from .engines import choose
from .errors import ForkError, LoaderError, ModelLoadError, ModelUnsupportedError
from .forks import after_fork_in_child, enter_engine, tainted
from .log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .load import Load


def metadata(load: "Load") -> None:
    """Read what the model's own configuration files say: milliseconds."""
    load.parts.metadata()


def tokenizer(load: "Load") -> None:
    """Make tokens countable: tens of milliseconds. A model without tokenizer.json goes on without."""
    try:
        load.parts.tokenizer()
    except ModelUnsupportedError as error:
        log("info", "%s", error)


def engine(load: "Load") -> None:
    """Load the model into the chosen engine and publish the provider."""
    settings, precision = load.settings, load.spec.precision
    spec = choose(settings.engine, settings.device, precision)
    if tainted(spec.name):
        raise ForkError(
            f"The engine {spec.name} was already imported when this process was forked, so it cannot be used here. "
            "Fork before the first load, or start processes with the 'spawn' or 'forkserver' method."
        )
    folder = load.parts.folder()
    module = spec.module()
    if not module.FORK_SAFE:
        enter_engine(spec.name)
    try:
        with COLLECTOR_PAUSE:
            opened = module.open_engine(folder.path, settings.device, precision, settings.threads)
    except LoaderError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"The engine {spec.name} could not load {folder.path}: {type(error).__name__}: {error}"
        ) from error
    from .metadata import remember_use
    from .provider import EmbeddingProvider

    provider = EmbeddingProvider(settings.model_name, opened)
    # Before, not after: once the provider is published, whoever waited for it should not have to share the interpreter.
    remember_use(load.parts.metadata())
    load.publish(provider)
    log("info", "%r is ready after %.3f s", provider, load.duration_s)


def warm_up(load: "Load") -> None:
    """Embed a dummy text once the provider is published, unless somebody waited for it and is using it already."""
    if load.provider is not None and not load.awaited:
        load.provider.warm_up()


after_fork_in_child(COLLECTOR_PAUSE.after_fork_in_child)

STAGES: "Final[dict[str, Callable[[Load], None]]]" = {
    "metadata": metadata,
    "tokenizer": tokenizer,
    "engine": engine,
    "warm_up": warm_up,
}
