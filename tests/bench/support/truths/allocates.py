"""Fills ``bytes`` bytes (200 million) of anonymous memory and keeps them; waits ``wait_s`` seconds (0) before and
after."""

import time

from tests.bench.support.truths import Truth


class Subject(Truth):
    def prepare(self):
        time.sleep(self.number("wait_s", 0.0))

    def work(self):
        # Written byte by byte: memory that is only asked for, as by bytearray(n), is not there yet.
        self.kept = b"\x01" * int(self.number("bytes", 200e6))
        time.sleep(self.number("wait_s", 0.0))
