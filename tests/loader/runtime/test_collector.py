"""The pause of the garbage collector: what the rest of the program sees of it."""

import gc
import threading

import pytest

from loader.runtime.collector import CollectorPause


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.unfreeze()
    gc.enable()


def test_collection_pauses_and_resumes():
    pause = CollectorPause()
    with pause, pause:
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="inside"), pause:
        raise ValueError("inside")
    assert gc.isenabled()


def test_a_program_that_switched_it_off_keeps_it_off():
    gc.disable()
    with CollectorPause():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_two_loads_at_once_resume_when_the_last_one_ends():
    pause = CollectorPause()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with pause:
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with pause:
        thread.start()
        entered.wait(30)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_what_was_made_meanwhile_is_old_and_still_collected():
    class Node:
        pass

    collected = []
    with CollectorPause():
        node = Node()
        node.itself = node
        node.finalizer = __import__("weakref").finalize(node, collected.append, True)
        kept = [[] for _ in range(100_000)]
    assert gc.get_count()[0] < 50_000, "the next collection does not walk through all that was made"
    assert gc.get_freeze_count() == 0
    del node
    gc.collect()
    assert collected == [True]
    assert len(kept) == 100_000


def test_objects_that_the_program_froze_stay_frozen():
    gc.freeze()
    frozen = gc.get_freeze_count()
    assert frozen > 0
    with CollectorPause():
        pass
    assert gc.get_freeze_count() >= frozen * 0.9


def test_a_child_forked_during_a_pause_collects():
    pause = CollectorPause()
    with pause:
        pause.after_fork_in_child()
        assert gc.isenabled()
        gc.disable()
        pause._inside, pause._was_enabled = 1, True
    assert gc.isenabled()
