"""The arguments of a loader, checked once in the constructor, then fixed."""

import os
from _thread import TIMEOUT_MAX

from .engines import AUTO, check_engine
from .errors import ArgumentTypeError, ArgumentValueError
from .strategies import PRECISIONS, STRATEGIES, STRATEGY_OF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .service.options import ServiceOptions
    from .strategies import StrategySpec

DEFAULT_MODEL: "Final" = "all-MiniLM-L6-v2"
DEFAULT_TIMEOUT_S: "Final" = 60.0

COMPILE: "Final" = (None, "now", "detached")
"""What a loader does if it finds no prepared model; None only logs a hint."""

_DEVICE_TYPES = ("cpu", "cuda", "mps")


class Settings:
    """What to load, by which strategy and how: checked once, then fixed.

    The attributes are the arguments, which ``OptimizedEmbeddingLoader`` documents, with two differences: a path object
    has become a string, and ``precision`` is never None, but the strategy's default.

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
        "strategy",
        "threads",
    )

    model_name: str
    strategy: str
    device: str | None
    engine: str
    threads: int | None
    allow_download: bool | None
    compile: str | None
    show_progress: bool | None
    precision: str
    service: "ServiceOptions | None"

    def __init__(
        self,
        model_name: "str | os.PathLike[str]",
        strategy: str = "lazy",
        device: str | None = None,
        *,
        engine: str = AUTO,
        threads: int | None = None,
        allow_download: bool | None = None,
        compile: str | None = None,  # noqa: A002 - the specification's name
        show_progress: bool | None = None,
        precision: str | None = None,
        service: "ServiceOptions | None" = None,
    ) -> None:
        fix = super().__setattr__
        fix("strategy", check_strategy(strategy))
        fix("model_name", _check_model_name(model_name))
        fix("device", _check_device(device))
        fix("engine", check_engine(engine))
        fix("threads", _check_threads(threads))
        fix("allow_download", _check_choice("allow_download", allow_download))
        if compile not in COMPILE:
            raise ArgumentValueError(f"compile must be 'now', 'detached' or None, not {compile!a}")
        fix("compile", compile)
        fix("show_progress", _check_choice("show_progress", show_progress))
        given = None if precision is None else check_precision(precision)
        fix("service", _check_service(service))
        fix("precision", _check_precision_of(self.strategy, given))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are fixed; {name} cannot become {value!r}")

    @property
    def spec(self) -> "StrategySpec":
        """The strategy's row of the table."""
        return STRATEGIES[self.strategy]

    def key(self) -> tuple[object, ...]:
        """Return what makes one loaded model differ from another; strategies only differ in when they load."""
        return (self.model_name, self.device, self.engine, self.threads, self.precision, self.spec.computes_here)

    def by(self, strategy: str) -> "Settings":
        """Return the same settings for another strategy of the same precision."""
        return self._but("strategy", strategy)

    def here(self) -> "Settings":
        """Return the same settings for a strategy that loads the model into this process."""
        return self._but("strategy", STRATEGY_OF[self.precision])

    def on(self, device: str) -> "Settings":
        """Return the same settings for another device, which must be a valid one."""
        return self._but("device", device)

    def _but(self, name: str, value: object) -> "Settings":
        other = object.__new__(Settings)
        for slot in self.__slots__:
            object.__setattr__(other, slot, value if slot == name else getattr(self, slot))
        return other


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


def _check_model_name(name: object) -> str:
    if isinstance(name, os.PathLike):
        # A relative path object means a path, even if it looks like a hub name.
        name = os.path.join(os.curdir, os.fspath(name))
    if not isinstance(name, str):
        raise ArgumentTypeError(f"model_name must be a string or a path, not {type(name).__name__}")
    return name


def _check_choice(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ArgumentTypeError(f"{name} must be True, False or None, not {value!r}")


def _check_precision_of(strategy: str, precision: str | None) -> str:
    """Return the precision in which a strategy computes, if one was given or not."""
    spec = STRATEGIES[strategy]
    if precision is not None and precision != spec.precision and spec.computes_here:
        raise ArgumentValueError(
            f"The strategy {strategy} computes in {spec.precision}, not {precision}; use the strategy "
            f"{STRATEGY_OF[precision]} or service"
        )
    return precision or spec.precision


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
