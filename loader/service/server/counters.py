"""What a service counts. Only numbers: no text or vector ever gets here."""

import time
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Counters:
    """What one model's service has done so far.

    Only one thread writes each number: the computing thread ``batches``, ``texts`` and ``compute_s``, the event loop's
    thread the others.

    Attributes:
        started_s: when it started, by the monotonic clock.
        connections: open connections; connections_total: all connections so far.
        strangers: connections from other users, closed without an answer.
        requests: accepted requests; pending: those not finished yet.
        cancelled: accepted requests whose caller left before the answer; timeouts, refused: accepted requests that
            ended so.
        busy: requests that were not accepted because too many were waiting.
        mismatches, protocol_errors: connections that ended so.
        texts, batches: what was computed; compute_s: seconds that it took.
        longest_queue: the most texts that ever waited at a time.
        last_ended_s: when the last request ended, by the monotonic clock, or None.
    """

    started_s: float = field(default_factory=time.monotonic)
    connections: int = 0
    connections_total: int = 0
    strangers: int = 0
    requests: int = 0
    pending: int = 0
    busy: int = 0
    timeouts: int = 0
    refused: int = 0
    cancelled: int = 0
    mismatches: int = 0
    protocol_errors: int = 0
    texts: int = 0
    batches: int = 0
    compute_s: float = 0.0
    longest_queue: int = 0
    last_ended_s: float | None = None

    @property
    def answered(self) -> int:
        """Accepted requests that ended with vectors or an error."""
        return self.requests - self.pending - self.cancelled

    def as_dict(self) -> dict[str, int | float | None]:
        """Return everything for a report, with ages instead of points in time."""
        now_s = time.monotonic()
        numbers = asdict(self)
        started_s, ended_s = numbers.pop("started_s"), numbers.pop("last_ended_s")
        idle_s = None if ended_s is None else round(now_s - ended_s, 3)
        return {"uptime_s": round(now_s - started_s, 3), "idle_s": idle_s, **numbers}
