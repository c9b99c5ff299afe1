"""A clock and samples for progress, made up."""

from bench.measure.noise import Noise
from bench.plan.cell import BASELINE
from bench.progress.remaining import WATCHED
from tests.bench.support import fakes

NAMES = (BASELINE, "lazy", "background", "cached")


FINE = fakes.make_outcome(fakes.make_answer())


FAILED = fakes.make_outcome({"status": "failed", "message": "ValueError: no"})


UNVERIFIED = fakes.make_outcome(fakes.make_answer(), unverified="in memory")


DISTURBED = fakes.make_outcome(fakes.make_answer(), noise=Noise(foreign_cpu=0.9))


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def executor_of(clock, seconds, outcome=lambda slot: FINE):
    """Samples that take their cell's seconds, watched ones as much more as foreseen."""

    def execute(slot):
        factor, more_s = WATCHED[slot.instrument] if slot.instrument else (1, 0)
        clock.now_s += seconds[slot.cell.strategy] * factor + more_s
        return outcome(slot)

    return execute
