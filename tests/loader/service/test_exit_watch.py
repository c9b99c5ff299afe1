"""Reasons to end: a service that nobody needs, that has grown, or whose model is another one now."""

import asyncio
import mmap

import numpy as np
import psutil
import pytest

from loader.service.options import IDLE_TIMEOUT_S
from loader.service.server.counters import Counters
from loader.service.server.exit_watch import GROWTH_BYTES, ExitWatch, memory_bytes


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def watch(counters, idle_timeout_s, **options):
    return ExitWatch([counters], idle_timeout_s=idle_timeout_s, **{"max_memory_bytes": 2**50, **options})


def end_a_request(counters, clock):
    counters.requests += 1
    counters.last_ended_s = clock.now_s


def test_idle_time_counts_from_the_start_and_from_the_last_request():
    clock, counters = Clock(), Counters()
    watched = watch(counters, 10, clock=clock)
    clock.now_s += 9
    assert watched.check() is None
    end_a_request(counters, clock)
    clock.now_s += 9
    assert watched.check() is None
    clock.now_s += 1
    assert watched.check() == "no request for 10 s"


def test_what_is_pending_is_no_idle_time():
    clock, counters = Clock(), Counters()
    watched = watch(counters, 10, clock=clock)
    counters.requests = counters.pending = 1
    clock.now_s += 100
    assert watched.check() is None


def test_a_connection_is_no_request():
    clock, counters = Clock(), Counters()
    watched = watch(counters, 10, clock=clock)
    counters.connections = 1
    clock.now_s += 10
    assert watched.check() is not None


def test_idle_time_of_several_models_is_that_of_the_last_one_used():
    clock, counters, others = Clock(), Counters(), Counters()
    watched = ExitWatch([counters, others], idle_timeout_s=10, max_memory_bytes=2**50, clock=clock)
    clock.now_s += 9
    end_a_request(others, clock)
    clock.now_s += 9
    assert watched.check() is None


def test_zero_ends_after_the_first_request():
    clock, counters = Clock(), Counters()
    watched = watch(counters, 0, clock=clock)
    clock.now_s += 5
    assert watched.check() is None
    counters.pending = counters.requests = 1
    assert watched.check() is None
    counters.pending = 0
    counters.last_ended_s = clock.now_s
    assert watched.check() == "the first request was answered"


def test_zero_does_not_wait_for_ever_for_the_first_request():
    clock = Clock()
    watched = watch(Counters(), 0, clock=clock)
    clock.now_s += IDLE_TIMEOUT_S
    assert watched.check() is not None


def test_minus_one_never_ends():
    clock, counters = Clock(), Counters()
    watched = watch(counters, -1, clock=clock)
    clock.now_s += 1e9
    assert watched.check() is None
    end_a_request(counters, clock)
    assert watched.check() is None


def test_memory_of_its_own_is_not_that_of_mapped_files(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * 2**20))
    before = memory_bytes()
    mapped = np.memmap(path, np.uint8, mode="r")
    assert mapped.sum() == 0
    with_map = memory_bytes()
    # Not from the heap, which may have as much that is free and resident.
    own = mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own.write(b"\1" * len(own))
    with_own = memory_bytes()
    assert with_own[1] - with_map[1] > 48 * 2**20
    assert with_map[1] - before[1] < 48 * 2**20
    assert with_own[0] <= psutil.Process().memory_info().rss + 16 * 2**20
    own.close()


def test_a_service_that_grew_ends():
    own = memory_bytes()[1]
    assert "MiB of memory" in watch(Counters(), -1, max_memory_bytes=own // 2).check()
    assert watch(Counters(), -1, max_memory_bytes=own * 2).check() is None


def test_the_default_ceiling_leaves_room_to_grow():
    watched = watch(Counters(), -1, max_memory_bytes=None)
    assert watched.check() is None
    assert watched._max_memory_bytes >= GROWTH_BYTES


def test_files_that_changed():
    answers = iter([False, True])
    watched = watch(Counters(), -1, changed=[lambda: next(answers)])
    assert watched.check() is None
    assert watched.check() == "the files of a model changed"


@pytest.mark.parametrize("idle_timeout_s", [0.05, 0.2])
def test_waiting_ends_by_itself(idle_timeout_s):
    counters = Counters()
    reason = asyncio.run(asyncio.wait_for(watch(counters, idle_timeout_s).reached(), 60))
    assert reason == f"no request for {idle_timeout_s:g} s"
