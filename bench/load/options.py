"""What is measured, how often and for how long: one table of plain values, checked once."""

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
class LoadTestOptions:
    """A load test.

    Attributes:
        model, engine: for both the service and the model in one process.
        phases: some of ``PHASES``.
        clients: connections to the service.
        processes: processes that the clients are spread over.
        requests: requests of a closed loop, all clients together.
        in_process_requests: requests of each phase with a model in one process.
        rounds: rounds, each with every phase once.
        texts: different sentences.
        fractions: rates of open loops, as shares of the throughput of the closed loops.
        rates: rates of open loops in requests per second, instead of ``fractions``.
        seconds: duration of an open loop.
        seed: seed of arrivals and of the order of phases and texts.
        patience_s: longest wait for one answer.
        timeout_s: time limit of a phase.
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
        """Reject invalid values.

        Raises:
            ConfigError: a number is too small, or nothing determines the rate of an open loop.
        """
        for name in ("clients", "processes", "requests", "in_process_requests", "rounds", "texts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
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
            raise ConfigError("open loops need rates, or a closed loop whose throughput they are a share of")

    @property
    def offered(self) -> tuple[float, ...]:
        """What identifies the open loops: rates, or else shares."""
        return self.rates or self.fractions
