"""Simulated gates: whole rounds of recordings, drawn in blocks, decided by the same code as real gates.

Blocks of neighbouring rounds are drawn with replacement (a moving block bootstrap: Kuensch, The Jackknife and the
Bootstrap for General Stationary Observations, 1989), so that slow spells of the machine keep their length. Each gate
draws from one recording, so differences between installations stay the same during it, as in a real gate. A slower
head is made by multiplying one metric of the arm ``head``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING

from scipy.stats import binomtest

from bench.data.metrics import METRICS_BY_KEY
from bench.errors import ConfigError
from bench.gate.decide.rules import HEAD, Place
from bench.gate.decide.sequence import decide
from bench.gate.decide.verdict import result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.gate.decide.rules import Round, Rule
    from bench.gate.decide.sequence import DecisionSettings
    from bench.studies.power.recordings import Recording


@dataclass(frozen=True)
class Question:
    """What is simulated.

    Attributes:
        rules: the gate's rules.
        settings: the gate's settings.
        metric: key of the metric that gets slower.
        block: rounds that are drawn together.
        seed: seed of everything random.
    """

    rules: Sequence[Rule]
    settings: DecisionSettings
    metric: str
    block: int
    seed: int


@dataclass(frozen=True)
class Tally:
    """How simulated gates with one effect ended.

    Attributes:
        effect: by how much the metric was made larger, 0.1 for 10 %.
        gates: their number.
        regressions: how many found a regression.
        inconclusive: how many were inconclusive.
        rate: share that found a regression, and its 95 % interval (Clopper and Pearson).
        median_s: median of the time that the gates would have measured.
        slowest_s: the time that 95 % of them did not exceed.
        median_rounds: median of the rounds of both stages together.
    """

    effect: float
    gates: int
    regressions: int
    inconclusive: int
    rate: tuple[float, float, float]
    median_s: float
    slowest_s: float
    median_rounds: float


class Replay:
    """A source of rounds and the clock that goes with it."""

    def __init__(self, recording: Recording, question: Question, effect: float, order: random.Random) -> None:
        self._recording = recording
        self._question = question
        self._effect = effect
        self._order = order
        self._upcoming: list[int] = []
        self._now = 0.0

    def clock(self) -> float:
        """Return the seconds that all rounds so far took when they were recorded."""
        return self._now

    def take(self, blocks: Sequence[tuple[Place, ...]], stage: int) -> Round:  # noqa: ARG002 - the source's protocol
        """Return the next round."""
        if not self._upcoming:
            begin = self._order.randrange(len(self._recording.rounds) - self._question.block + 1)
            self._upcoming = list(range(begin, begin + self._question.block))
        index = self._upcoming.pop(0)
        self._now += self._recording.seconds[index]
        found = self._recording.rounds[index]
        key, factor = self._question.metric, 1.0 + self._effect
        return {
            place: {**found[place], key: found[place][key] * factor}
            if place.arm == HEAD and slows(place)
            else found[place]
            for block in blocks
            for place in block
        }


def slows(place: Place) -> bool:
    """Whether a place measures our loader: a floor such as an empty program does not get slower with it."""
    return not place.cell.is_peer and not place.cell.is_baseline


def simulate(recordings: Sequence[Recording], question: Question, effect: float, gates: int) -> Tally:
    """Simulate this many gates, on all processors, and return how they end.

    Raises:
        ConfigError: a recording is too short, or lacks what the rules need.
    """
    for recording in recordings:
        _check(recording, question)
    one = partial(_one, recordings, question, effect)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        ends = list(pool.map(one, range(gates), chunksize=max(gates // 64, 1)))
    results = Counter(result for result, _, _ in ends)
    found = results["regression"]
    interval = binomtest(found, gates).proportion_ci()
    return Tally(
        effect,
        gates,
        found,
        results["inconclusive"],
        (found / gates, float(interval.low), float(interval.high)),
        median(seconds for _, seconds, _ in ends),
        quantiles((seconds for _, seconds, _ in ends), n=20)[-1],
        median(rounds for _, _, rounds in ends),
    )


def _one(recordings: Sequence[Recording], question: Question, effect: float, number: int) -> tuple[str, float, int]:
    order = random.Random(f"{question.seed} {effect} {number}")  # noqa: S311 - repeatability is the point
    replay = Replay(recordings[number % len(recordings)], question, effect, order)
    course = decide(question.rules, replay, question.settings, replay.clock)
    return result_of(course), replay.clock(), sum(stage.rounds for stage in course.stages)


def _check(recording: Recording, question: Question) -> None:
    if len(recording.rounds) < 2 * question.block:
        raise ConfigError(
            f"A recording of {len(recording.rounds)} rounds is too short for blocks of {question.block}: record at "
            f"least {2 * question.block}"
        )
    if question.metric not in METRICS_BY_KEY:
        raise ConfigError(f"{question.metric} is not a metric; choose from {', '.join(METRICS_BY_KEY)}")
    missing = {place for rule in question.rules for place in rule.places} - set(recording.rounds[0])
    if missing:
        place = min(missing)
        raise ConfigError(
            f"The recording has no {place.cell.label()} in the arm {place.arm}: use its own overrides, and "
            "the ceilings of then, with --set; --set 'ceilings=[]' for none"
        )
