"""Has a thread that computes in Python until it has used ``burn_s`` seconds (1) of processor time.

Waiting until ready waits for that thread.
"""

import threading
import time

from tests.bench.support.truths import Truth


class Subject(Truth):
    def work(self):
        self.thread = threading.Thread(target=self.burn)
        self.thread.start()

    def burn(self):
        seconds = self.number("burn_s", 1.0)
        while time.thread_time() < seconds:
            sum(range(1000))

    def wait_until_ready(self):
        self.thread.join()
        return True
