"""Making a recording: all three arms of a gate hold the same revision, and rounds are taken for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.gate.decide.rules import ARMS
from bench.gate.run import open_session
from bench.measure.process import wall_clock
from bench.studies.power.recordings import Recording

if TYPE_CHECKING:
    from bench.gate.run import Asked


def record(asked: Asked, seconds: float) -> Recording:
    """Take rounds of ``asked.head``, installed three times, for about this long.

    Raises:
        BenchError: see ``bench.gate.run.open_session``.
    """
    with open_session(asked, dict.fromkeys(ARMS, asked.head)) as session:
        session.measurer.warm_up(session.blocks, session.conf.warmup_rounds)
        recorded_at, begun = wall_clock(), time.monotonic()
        rounds, took = [], []
        while time.monotonic() - begun < seconds:
            before = time.monotonic()
            rounds.append(session.measurer.take(session.blocks, 1))
            took.append(time.monotonic() - before)
        environment = session.environments["base"].to_json()
        return Recording(asked.words, asked.overrides, environment, recorded_at, rounds, took)
