"""Reads the file ``file`` from its beginning to its end and keeps nothing of it."""

import os

from tests.bench.support.truths import Truth

CHUNK_BYTES = 2**20


class Subject(Truth):
    def work(self):
        descriptor = os.open(self.options["file"], os.O_RDONLY)
        try:
            self.bytes_read = 0
            while chunk := os.read(descriptor, CHUNK_BYTES):
                self.bytes_read += len(chunk)
        finally:
            os.close(descriptor)

    def facts(self):
        return {**super().facts(), "bytes_read": self.bytes_read}
