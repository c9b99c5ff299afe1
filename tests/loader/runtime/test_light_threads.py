"""Conditions and threads without ``threading``, and what happens when it is imported after all."""

import threading
import time
from _thread import RLock

import pytest

from loader.light_threads import Condition, is_main_thread, start_thread

WAIT_S = 30.0


@pytest.fixture(params=["plain", "re-entrant"])
def condition(request):
    return Condition() if request.param == "plain" else Condition(RLock())


def test_every_waiter_is_woken(condition):
    state = {"open": False, "waiting": 0, "through": 0}

    def wait():
        with condition:
            state["waiting"] += 1
            condition.notify_all()
            assert condition.wait_for(lambda: state["open"], WAIT_S)
            state["through"] += 1
            condition.notify_all()

    for _ in range(20):
        start_thread(wait, "waiter")
    with condition:
        assert condition.wait_for(lambda: state["waiting"] == 20, WAIT_S)
        state["open"] = True
        condition.notify_all()
        assert condition.wait_for(lambda: state["through"] == 20, WAIT_S)


def test_a_wait_ends_in_time(condition):
    with condition:
        assert condition.wait_for(lambda: True, 0) is True
        assert condition.wait_for(lambda: False, 0) is False
        assert condition.wait_for(lambda: False, 0.01) is False
        assert condition._waiters == []
        condition.notify_all()


def test_a_re_entrant_lock_is_released_completely():
    condition, seen = Condition(RLock()), []

    def other():
        with condition:
            seen.append(1)
            condition.notify_all()

    with condition, condition:
        start_thread(other, "other")
        assert condition.wait_for(lambda: seen, WAIT_S)
    with condition:
        pass


def test_an_interrupted_wait_has_the_lock_again(condition):
    """As by Ctrl-C: the error leaves the ``with`` block, which releases the lock."""

    class InterruptedWaitError(Exception):
        pass

    def interrupts():
        if condition._waiters == [] and not first:
            first.append(1)
            return False
        raise InterruptedWaitError

    def wait():
        with condition:
            condition.wait_for(interrupts, WAIT_S)

    first = []
    threading.Timer(0.01, lambda: notify(condition)).start()
    with pytest.raises(InterruptedWaitError):
        wait()
    with condition:
        pass


def notify(condition):
    with condition:
        condition.notify_all()


def test_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(is_main_thread()))
    thread.start()
    thread.join()
    assert (is_main_thread(), found) == (True, [False])


def test_a_thread_has_a_name_where_threading_is_imported():
    names, done = [], threading.Event()

    def look():
        names.append(threading.current_thread().name)
        names.append(threading.current_thread().daemon)
        done.set()

    start_thread(look, "a name")
    assert done.wait(WAIT_S)
    assert names == ["a name", True]


FIRST = """
import sys
from _thread import allocate_lock
from loader import light_threads
assert "threading" not in sys.modules
ready, stay = allocate_lock(), allocate_lock()
ready.acquire()
stay.acquire()
def work():
    light_threads.import_threading()
    ready.release()
    stay.acquire()
light_threads.start_thread(work, "worker")
ready.acquire()
import threading
"""


@pytest.mark.parametrize(
    "code",
    [
        "assert threading.current_thread() is threading.main_thread()",
        "assert threading.main_thread().name == 'MainThread' and len(threading.enumerate()) <= 2",
        "import asyncio; asyncio.run(asyncio.to_thread(int))",
        "threading.Thread(target=lambda: (__import__('time').sleep(0.2), print('waited for'))).start()",
        "import os\nif os.fork():\n    assert os.wait()[1] == 0\nelse:\n"
        "    sys.exit(threading.current_thread() is not threading.main_thread())",
        "stay.release(); __import__('time').sleep(0.1)",
    ],
)
def test_threading_imported_by_another_thread(python, code):
    """The main thread is the main one, exit does not wait for ours, and it waits for those it should wait for."""
    started = time.monotonic()
    done = python(FIRST + code)
    assert (done.code, done.err) == (0, "")
    assert done.out == ("waited for\n" if "waited" in code else "")
    assert time.monotonic() - started < 100  # and does not wait for ours


@pytest.mark.real_model
def test_a_model_without_the_kernel(python):
    """Loading imports NumPy, and with it ``threading``, in the loader's thread."""
    code = """
import sys, time
from loader import preload_embeddings
model = preload_embeddings("all-MiniLM-L6-v2")
assert "threading" not in sys.modules
while not model.is_loaded():
    time.sleep(0.01)
import threading
assert threading.current_thread() is threading.main_thread()
print(model.load().engine)
"""
    done = python(code, env={"EMBEDDING_LOADER_KERNEL": "none"})
    assert (done.code, done.out, done.err) == (0, "numpy\n", "")
