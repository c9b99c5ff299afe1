"""Has a thread that holds the interpreter's lock for ``hold_s`` seconds (0.15, below 1), ``after_s`` (0.2) from its
start."""

import threading
import time

from tests.bench.support.truths import Truth


class Subject(Truth):
    def prepare(self):
        import ctypes

        # PyDLL, unlike CDLL, keeps the lock during a call.
        self.usleep = ctypes.PyDLL(None).usleep
        self.usleep.argtypes = (ctypes.c_uint,)

    def work(self):
        self.thread = threading.Thread(target=self.hold)
        self.thread.start()

    def hold(self):
        time.sleep(self.number("after_s", 0.2))
        # In one call: whoever waits for the lock would get it between two. POSIX wants it below a second.
        self.usleep(round(self.number("hold_s", 0.15) * 1e6))
