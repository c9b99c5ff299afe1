"""What is measured, how often and how long: one table of plain values, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.errors import ConfigError

FRACTIONS = (0.25, 0.5, 0.75, 0.9)

PHASES = ("closed", "serial", "threads", "batch", "open")
"""The service in a closed loop; one process, text by text; with a thread for each processor; in batches; the service in
open loops."""

IN_PROCESS = ("serial", "threads", "batch")


@dataclass(frozen=True)
class LoadOptions:
    """A load test.

    Attributes:
        model, engine: for the service and for the model in one process alike.
        phases: which of ``PHASES``.
        clients: connections to the service.
        processes: that the clients are spread over.
        requests: of a closed loop, all clients together.
        in_process_requests: of each phase with a model in one process.
        rounds: each has every phase once.
        texts: different sentences.
        fractions: rates of open loops, as shares of the throughput of the closed loops.
        rates: rates of open loops in requests a second, in the place of ``fractions``.
        seconds: of an open loop.
        seed: of the order of phases and texts, and of arrivals.
        patience_s: for one answer.
        timeout_s: for all of a phase.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    engine: str = "onnx"
    phases: tuple[str, ...] = PHASES
    clients: int = 64
    processes: int = 2
    requests: int = 20_000
    in_process_requests: int = 4_000
    rounds: int = 3
    texts: int = 500
    fractions: tuple[float, ...] = FRACTIONS
    rates: tuple[float, ...] = ()
    seconds: float = 20.0
    seed: int = 0
    patience_s: float = 30.0
    timeout_s: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: a number is too small, or an open loop has nothing that says its rate.
        """
        for name in ("clients", "processes", "requests", "in_process_requests", "rounds", "texts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 at least, not {getattr(self, name)}")
        for name in ("seconds", "patience_s", "timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if not all(0 < rate < math.inf for rate in (*self.fractions, *self.rates)):
            raise ConfigError(f"rates must be above 0, not {(*self.fractions, *self.rates)}")
        unknown = sorted(set(self.phases) - set(PHASES))
        if unknown or not self.phases:
            raise ConfigError(f"phases must be some of {', '.join(PHASES)}, not {', '.join(unknown) or 'none'}")
        if self.processes > self.clients:
            raise ConfigError(f"{self.clients} clients cannot be spread over {self.processes} processes")
        if "open" in self.phases and "closed" not in self.phases and not self.rates:
            raise ConfigError("open loops need rates, or closed loops whose throughput they are shares of")

    @property
    def offered(self) -> tuple[float, ...]:
        """What tells open loops apart: rates, or else shares."""
        return self.rates or self.fractions
