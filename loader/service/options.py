"""What a caller can set for the model service. Light: the strategy SERVICE imports it at once."""

from ..errors import ArgumentTypeError, ArgumentValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

START: "Final" = ("detached", "wait", None)
"""What to do if no service is running."""

IDLE_TIMEOUT_S: "Final" = 1800.0
"""Half an hour: a morning of searches finds the service running, but a forgotten one does not stay all day."""
SILENCE_S: "Final" = 2.0
"""Four times the interval of a working service's heartbeats."""
_MAX_SECONDS: "Final" = 1e8


class ServiceOptions:
    """How the strategy SERVICE reaches, starts and replaces a service. Immutable by convention.

    Args:
        start: what to do if no service is running: ``"detached"`` computes in this process and starts a service for the
            next caller, ``"wait"`` starts one and waits for it, None computes in this process and starts nothing.
        fallback: whether this process computes if the service cannot; otherwise a ServiceError is raised.
        silence: seconds without a heartbeat after which a service counts as broken, at least 0.01; while a caller waits
            for a service to start, at least 10.
        idle_timeout: seconds without a request after which a service that this caller starts exits; 0: after the first
            request, -1: never.
        max_memory_mb: private memory in MiB, at least 1, above which a service that this caller starts exits; None for
            1 GiB more than it uses when its model is ready.

    Raises:
        ArgumentTypeError: an argument has the wrong type.
        ArgumentValueError: an argument has an invalid value.
    """

    __slots__ = ("fallback", "idle_timeout", "max_memory_mb", "silence", "start")

    def __init__(
        self,
        start: str | None = "detached",
        *,
        fallback: bool = True,
        silence: float = SILENCE_S,
        idle_timeout: float = IDLE_TIMEOUT_S,
        max_memory_mb: float | None = None,
    ) -> None:
        if start not in START:
            raise ArgumentValueError(f"start must be 'detached', 'wait' or None, not {start!a}")
        if not isinstance(fallback, bool):
            raise ArgumentTypeError(f"fallback must be True or False, not {fallback!r}")
        self.start = start
        self.fallback = fallback
        self.silence = _seconds("silence", silence, 0.01)
        self.idle_timeout = -1.0 if idle_timeout == -1 else _seconds("idle_timeout", idle_timeout, 0.0)
        self.max_memory_mb = None if max_memory_mb is None else _seconds("max_memory_mb", max_memory_mb, 1.0)


def _seconds(name: str, value: object, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{name} must be a number, not {type(value).__name__}")
    if not least <= value <= _MAX_SECONDS:
        raise ArgumentValueError(f"{name} must be from {least:g} to {_MAX_SECONDS:g}, not {value!r}")
    return float(value)
