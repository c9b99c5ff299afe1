"""Sleeps ``sleep_s`` seconds (0.1) while it is constructed."""

import time

from tests.bench.support.truths import Truth


class Subject(Truth):
    def work(self):
        time.sleep(self.number("sleep_s", 0.1))
