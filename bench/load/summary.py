"""What the records of a load test say. Pure functions; nothing is measured or printed here."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import theilslopes

from bench.load.observations import joined
from bench.load.options import IN_PROCESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.load.observations import Observations
    from bench.load.records import MemorySample, Phase

    Measured = Sequence[tuple[Phase, Observations]]

PERMILLE = (500, 900, 990, 999)
"""Quantiles of a latency, in thousandths."""

MIN_BEYOND = 10
"""Samples that must lie beyond a quantile for it to be shown: with 10 its rank is uncertain by a third (the number of
samples beyond is binomial, so its standard deviation is about the root of 10). The 99 % quantile takes 1,000
samples."""

MAX_LAG_NS = 2_000_000
"""How late free clients may send one in a hundred requests before the generator counts as having fallen behind; a
tenth of the median latency if that is more."""

MIN_KEPT_UP = 0.95
"""Share of the offered rate below which the answers did not keep up. Poisson arrivals over 20 s at 100 per second vary
by 2 %."""

FLAT_SHARE = 0.02
"""How much more of its own memory the last quarter may have than the first to count as flat."""

MAX_MEMORY_SAMPLES = 2000
"""Most samples for the slope, whose cost is quadratic: more are thinned out evenly."""


@dataclass(frozen=True)
class RoundRange:
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class PhaseSummary:
    """All rounds of one kind of phase.

    Attributes:
        name: the phase's name.
        offered: what identifies an open loop: the share, or else the rate; None for others.
        clients: how many asked at the same time.
        offered_per_s: rate of an open loop.
        rounds: the number of rounds; ``failed`` of them have no observations.
        asked: requests in all rounds.
        counts: these, by outcome.
        answers_per_s: right answers per second; None if there were none.
        latencies_ms: by thousandths, for the right answers of all rounds together; None for too few.
        waited: share of requests that found no client free.
        lag_ms: 99 % quantile of how late free clients sent; None for too few.
        client_cpus, service_cpus: processors that were busy on average.
        remarks: what is wrong with it, in words.
    """

    name: str
    offered: float | None
    clients: int
    offered_per_s: float | None
    rounds: int
    failed: int
    asked: int
    counts: dict[str, int]
    answers_per_s: RoundRange | None
    latencies_ms: dict[int, float | None]
    waited: float | None
    lag_ms: float | None
    client_cpus: float | None
    service_cpus: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """The service's own memory while it was asked.

    Attributes:
        samples: the number of samples.
        kind: ``rss_anon_bytes``, or ``rss_bytes`` if the system does not report the process's own part.
        first_bytes, last_bytes: medians of the first and the last quarter.
        total_bytes: the highest resident size, shared pages included.
        per_1000_bytes: growth per 1,000 right answers: the median of the slopes of all pairs of samples (Sen
            1968), which is robust against outliers; None if all samples have the same number of answers.
    """

    samples: int
    kind: str
    first_bytes: float
    last_bytes: float
    total_bytes: int
    per_1000_bytes: float | None

    @property
    def is_flat(self) -> bool:
        """Whether the last quarter has at most FLAT_SHARE more than the first."""
        return self.last_bytes <= self.first_bytes * (1 + FLAT_SHARE)


def quantile(values: NDArray[np.int64], permille: int) -> float | None:
    """Return a quantile, one of the values; None if fewer than MIN_BEYOND would lie beyond it on average."""
    if len(values) * (1000 - permille) < MIN_BEYOND * 1000:
        return None
    return float(np.quantile(values, permille / 1000, method="inverted_cdf"))


def answers_per_s(observations: Observations) -> float | None:
    """Return the right answers per second, from the beginning to the last answer; None if there are none."""
    right = int(observations.ok.sum())
    return right * 1e9 / int(observations.done_ns.max()) if right else None


def summarise(measured: Measured) -> list[PhaseSummary]:
    """Return a summary of each kind of phase; the service's closed loop first, open loops by rising rates last."""
    order = ("closed", *IN_PROCESS, "open")
    keys = {(order.index(phase.name), _offered(phase) or 0.0) for phase, _ in measured}
    return [
        _load([pair for pair in measured if (order.index(pair[0].name), _offered(pair[0]) or 0.0) == key])
        for key in sorted(keys)
    ]


def ratios(measured: Measured) -> dict[str, RoundRange]:
    """Return the throughput of the service divided by that of each way to use one process, round by round."""
    rates: dict[int, dict[str, float]] = {}
    for phase, observations in measured:
        rate = answers_per_s(observations)
        if phase.name != "open" and rate is not None:
            rates.setdefault(phase.round, {})[phase.name] = rate
    found: dict[str, list[float]] = {}
    for of_round in rates.values():
        present = [name for name in IN_PROCESS if name in of_round]
        if "closed" not in of_round or not present:
            continue
        of_round = {**of_round, "best": max(of_round[name] for name in present)}
        for name in (*present, "best"):
            found.setdefault(name, []).append(of_round["closed"] / of_round[name])
    return {name: _range(found[name]) for name in (*IN_PROCESS, "best") if name in found}


def memory_over_time(measured: Measured, samples: Sequence[MemorySample], name: str) -> Memory | None:
    """Return how the service's memory developed in the phases of one name; None for fewer than four samples."""
    asked = [(phase, found) for phase, found in measured if phase.name == name and found.ok.any()]
    spans = [(phase.begin_ns, phase.begin_ns + int(found.done_ns.max())) for phase, found in asked]
    during = [sample for sample in samples if any(begin <= sample.at_ns <= end for begin, end in spans)]
    if len(during) < 4:
        return None
    is_own = all(sample.rss_anon_bytes is not None for sample in during)
    own = np.array([sample.rss_anon_bytes if is_own else sample.rss_bytes for sample in during], np.float64)
    moments = np.sort(np.concatenate([phase.begin_ns + found.done_ns[found.ok] for phase, found in asked]))
    answers = np.searchsorted(moments, [sample.at_ns for sample in during], side="right")
    quarter = len(own) // 4
    return Memory(
        len(own),
        "rss_anon_bytes" if is_own else "rss_bytes",
        float(np.median(own[:quarter])),
        float(np.median(own[-quarter:])),
        max(sample.rss_bytes for sample in during),
        _growth(answers, own),
    )


def _growth(answers: NDArray[np.int64], own: NDArray[np.float64]) -> float | None:
    step = -(-len(own) // MAX_MEMORY_SAMPLES)
    answers, own = answers[::step], own[::step]
    if len(set(answers.tolist())) < 2:
        return None
    return float(theilslopes(own, answers)[0]) * 1000


def _offered(phase: Phase) -> float | None:
    return phase.offered_per_s if phase.fraction is None else phase.fraction


def _load(measured: Measured) -> PhaseSummary:
    first = measured[0][0]
    done = [(phase, found) for phase, found in measured if phase.status == "ok"]
    requests = joined([found for _, found in done])
    rates = [rate for _, found in done if (rate := answers_per_s(found)) is not None]
    latencies = requests.latencies_ns
    quantiles = {each: _ms(quantile(latencies, each)) for each in PERMILLE}
    counts: Counter[str] = Counter()
    for phase, _ in done:
        counts.update(phase.counts)
    load = PhaseSummary(
        first.name,
        _offered(first),
        first.clients,
        first.offered_per_s,
        len(measured),
        len(measured) - len(done),
        len(requests),
        dict(counts),
        _range(rates) if rates else None,
        quantiles,
        _waited(requests) if first.name == "open" else None,
        _ms(_lag_ns(requests)) if first.name == "open" else None,
        _busy([(phase.client_cpu_s, found) for phase, found in done]),
        _busy([(phase.service_cpu_s, found) for phase, found in done]),
        (),
    )
    return PhaseSummary(**{**vars(load), "remarks": tuple(_remarks(load, done))})


def _remarks(load: PhaseSummary, done: Measured) -> list[str]:
    found = [f"{load.failed} of {load.rounds} rounds failed"] if load.failed else []
    found += [f"{count} {name}" for name, count in load.counts.items() if name != "ok" and count]
    if load.name != "open":
        return found
    typical_ms = load.latencies_ms[500]
    if load.lag_ms is not None and load.lag_ms > max(MAX_LAG_NS / 1e6, 0.1 * (typical_ms or 0.0)):
        found.append("the generator fell behind")
    slow = sum(not _kept_up(phase, requests) for phase, requests in done)
    if slow:
        found.append(f"answers did not keep up in {slow} of {len(done)} rounds")
    return found


def _kept_up(phase: Phase, requests: Observations) -> bool:
    """Whether nearly as many right answers came while requests were due as there were requests."""
    due = len(requests)
    in_time = int((requests.done_ns[requests.ok] <= (phase.seconds or 0.0) * 1e9).sum())
    # Requests due at the very end cannot be answered in time: as many as are in flight at once.
    return in_time + phase.clients >= MIN_KEPT_UP * due


def _waited(requests: Observations) -> float | None:
    sent = requests.sent_ns > 0
    return float((requests.taken_ns > requests.due_ns)[sent].mean()) if sent.any() else None


def _lag_ns(requests: Observations) -> float | None:
    """Return the 99 % quantile of how late clients sent that were free when the request was due."""
    free = (requests.sent_ns > 0) & (requests.taken_ns <= requests.due_ns)
    return quantile((requests.sent_ns - requests.due_ns)[free], 990)


def _busy(parts: Sequence[tuple[float | None, Observations]]) -> float | None:
    """Return processor seconds divided by seconds."""
    known = [(cpu_s, int(found.done_ns.max()) / 1e9) for cpu_s, found in parts if cpu_s is not None and found.ok.any()]
    total_s = sum(seconds for _, seconds in known)
    return sum(cpu_s for cpu_s, _ in known) / total_s if total_s else None


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6


def _range(values: Sequence[float]) -> RoundRange:
    return RoundRange(statistics.median(values), min(values), max(values))
