"""When the requests of an open loop are due, and which text each request has: the same for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NS_PER_S = 1_000_000_000


def poisson_arrivals_ns(rate_per_s: float, seconds: float, seed: int) -> NDArray[np.int64]:
    """Return when the requests of a Poisson process are due, in nanoseconds from the beginning, in order.

    Given their number, the arrivals of such a process are independent and uniform over the time (Ross,
    Introduction to Probability Models, section 5.3), so the number is drawn first, then that many moments.

    Args:
        rate_per_s: requests per second on average; above 0.
        seconds: how long; above 0.
        seed: the same seed gives the same arrivals.
    """
    random = np.random.default_rng(seed)
    count = random.poisson(rate_per_s * seconds)
    moments: NDArray[np.int64] = np.sort(random.uniform(0.0, seconds * NS_PER_S, count)).astype(np.int64)
    return moments


def text_order(requests: int, texts: int, seed: int) -> NDArray[np.int64]:
    """Return the index of each request's text: all texts once in random order, then all in another, and so on."""
    random = np.random.default_rng(seed)
    passes = -(-requests // texts)
    order = [random.permutation(texts) for _ in range(passes)]
    return np.concatenate(order)[:requests] if order else np.empty(0, np.int64)
