"""The kernel's threads in processes: they survive a fork, and never keep a process alive."""

import pytest

pytestmark = pytest.mark.process

START = """
import os, sys, threading, time
from tests.loader.native.models import Random, computed
model = Random(width=96, heads=4, inner=300, positions=300)
texts = model.texts([250] * 8)
kernel = model.kernel(threads=3)
before = kernel.encode(texts)
"""


def test_a_forked_child_makes_threads_of_its_own(python):
    """Also if another thread of the parent was computing."""
    code = """
stop = False
def work():
    while not stop:
        kernel.encode(texts)
busy = threading.Thread(target=work)
busy.start()
for _ in range(10):
    time.sleep(0.005)
    child = os.fork()
    if child == 0:
        os._exit(0 if kernel.encode(texts) == before and kernel.encode(texts) == before else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
busy.join()
assert kernel.encode(texts) == before
"""
    done = python(START + code)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("end", ["", "del kernel", "sys.exit(0)", "os._exit(0)"])
def test_sleeping_threads_keep_no_process_alive(python, end):
    done = python(START + end)
    assert (done.code, done.err) == (0, "")


def test_exit_while_another_thread_computes(python):
    code = """
def work():
    while True:
        kernel.encode(texts)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""
    done = python(START + code)
    assert (done.code, done.err) == (0, "")


def test_destroyed_encoders_leave_no_thread_and_no_memory(python):
    code = """
def threads():
    return len(os.listdir("/proc/self/task"))
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
assert threads() == 3, threads()
del kernel
assert threads() == 1
for number in range(400):
    model.kernel(threads=3).encode(texts[:1])
    if number == 100:
        first = resident()
assert threads() == 1
print(resident() - first)
"""
    done = python(START + code)
    assert (done.code, done.err) == (0, "")
    assert float(done.out) < 4.0


def test_a_short_text_starts_no_thread(python):
    code = """
fresh = model.kernel(threads=3)
count = len(os.listdir("/proc/self/task"))
fresh.encode(model.texts([12]))
assert len(os.listdir("/proc/self/task")) == count
fresh.encode(model.texts([120]))
assert len(os.listdir("/proc/self/task")) == count + 2
"""
    done = python(START + code)
    assert (done.code, done.err) == (0, "")
