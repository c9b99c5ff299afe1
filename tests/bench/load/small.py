"""Small load tests of fakes."""

import numpy as np

from bench.load.observations import OK, Observations
from bench.load.options import LoadTestOptions

SMALL = LoadTestOptions(
    clients=4, processes=2, requests=200, in_process_requests=60, rounds=1, texts=20, rates=(200.0,), seconds=0.5,
    patience_s=1.0, timeout_s=60.0,
)  # fmt: skip


def requests(due_ms, took_ms, *, outcome=OK, waited_ms=0, late_ms=0):
    """Observations of requests that were due at these milliseconds."""
    due = (np.array(due_ms, np.float64) * 1e6).astype(np.int64)
    taken = due + int(waited_ms * 1e6) if waited_ms else np.zeros_like(due)
    sent = np.maximum(due, taken) + int(late_ms * 1e6) + 1
    done = sent + (np.broadcast_to(took_ms, due.shape) * 1e6).astype(np.int64)
    return Observations(due, taken, sent, done, np.full(len(due), outcome, np.uint8))
