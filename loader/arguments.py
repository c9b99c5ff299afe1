"""The arguments of a loader, checked once in the constructor, then fixed."""

import os
from threading import TIMEOUT_MAX

from .engines import AUTO, check_engine
from .errors import ArgumentTypeError, ArgumentValueError
from .strategies import PRECISIONS, STRATEGIES, STRATEGY_OF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .service.options import ServiceOptions

DEFAULT_MODEL: "Final" = "all-MiniLM-L6-v2"
DEFAULT_TIMEOUT_S: "Final" = 60.0

COMPILE: "Final" = (None, "now", "detached")
"""What a loader does if it finds no prepared model; None only logs a hint."""

_DEVICE_TYPES = ("cpu", "cuda", "mps")


class Settings:
    """What to load, and how. Immutable by convention; ``OptimizedEmbeddingLoader`` documents the arguments.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid.
    """

    __slots__ = (
        "allow_download",
        "compile",
        "device",
        "engine",
        "model_name",
        "precision",
        "service",
        "show_progress",
        "threads",
    )

    def __init__(
        self,
        model_name: "str | os.PathLike[str]",
        device: str | None = None,
        engine: str = AUTO,
        threads: int | None = None,
        allow_download: bool | None = None,
        *,
        compile: str | None = None,  # noqa: A002 - the specification's name
        show_progress: bool | None = None,
        precision: str | None = None,
        service: "ServiceOptions | None" = None,
    ) -> None:
        if isinstance(model_name, os.PathLike):
            # A relative path object means a path, even if it looks like a hub name.
            model_name = os.path.join(os.curdir, os.fspath(model_name))
        if not isinstance(model_name, str):
            raise ArgumentTypeError(f"model_name must be a string or a path, not {type(model_name).__name__}")
        self.model_name = model_name
        self.device = _check_device(device)
        self.engine = check_engine(engine)
        self.threads = _check_threads(threads)
        if not isinstance(allow_download, (bool, type(None))):
            raise ArgumentTypeError(f"allow_download must be True, False or None, not {allow_download!r}")
        self.allow_download = allow_download
        if compile not in COMPILE:
            raise ArgumentValueError(f"compile must be 'now', 'detached' or None, not {compile!a}")
        self.compile = compile
        if not isinstance(show_progress, (bool, type(None))):
            raise ArgumentTypeError(f"show_progress must be True, False or None, not {show_progress!r}")
        self.show_progress = show_progress
        self.precision = None if precision is None else check_precision(precision)
        self.service = _check_service(service)

    def key(self) -> tuple[object, ...]:
        """Return what makes one loaded model differ from another."""
        return (self.model_name, self.device, self.engine, self.threads)


def check_strategy(strategy: object) -> str:
    """Return the name of the strategy, given as a LoadingStrategy or by name.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is neither.
    """
    if not isinstance(strategy, str):
        raise ArgumentTypeError(f"strategy must be a LoadingStrategy or its name, not {type(strategy).__name__}")
    for name in STRATEGIES:
        if name == strategy:
            return name
    raise ArgumentValueError(f"Unknown strategy {strategy!a}; choose from {', '.join(STRATEGIES)}")


def check_precision_of(strategy: str, precision: str | None) -> None:
    """Check that a strategy supports a precision.

    Raises:
        ArgumentValueError: it does not.
    """
    own = STRATEGIES[strategy].precision
    if precision is not None and precision != own and strategy != "service":
        raise ArgumentValueError(
            f"The strategy {strategy} computes in {own}, not {precision}; use the strategy "
            f"{STRATEGY_OF[precision]} or service"
        )


def check_precision(precision: object) -> str:
    """Return the precision.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is not one of ``PRECISIONS``.
    """
    if not isinstance(precision, str):
        raise ArgumentTypeError(f"precision must be a string, not {type(precision).__name__}")
    if precision not in PRECISIONS:
        raise ArgumentValueError(f"Unknown precision {precision!a}; choose from {', '.join(PRECISIONS)}")
    return precision


def check_timeout(timeout: object) -> float | None:
    """Return the timeout in seconds, or None for no limit.

    Raises:
        ArgumentTypeError: not a number.
        ArgumentValueError: negative or NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ArgumentTypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ArgumentValueError(f"timeout must be 0 or more, not {timeout!r}")
    # The system's limit (292 years): beyond it, waiting raises OverflowError.
    return float(min(timeout, TIMEOUT_MAX))


def _check_device(device: object) -> str | None:
    if device is None:
        return None
    if not isinstance(device, str):
        raise ArgumentTypeError(f"device must be a string or None, not {type(device).__name__}")
    kind, colon, index = device.partition(":")
    if kind not in _DEVICE_TYPES or (colon and not (index.isascii() and index.isdecimal() and len(index) <= 4)):
        raise ArgumentValueError(f"Unknown device {device!a}; use 'cpu', 'cuda', 'cuda:<number>', 'mps' or None")
    return device


def _check_service(service: object) -> "ServiceOptions | None":
    if service is None:
        return None
    from .service.options import ServiceOptions

    if not isinstance(service, ServiceOptions):
        raise ArgumentTypeError(f"service must be a ServiceOptions or None, not {type(service).__name__}")
    return service


def _check_threads(threads: object) -> int | None:
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise ArgumentTypeError(f"threads must be an integer or None, not {type(threads).__name__}")
    if not 1 <= threads <= 1024:
        raise ArgumentValueError(f"threads must be from 1 to 1024, not {threads}")
    return threads
