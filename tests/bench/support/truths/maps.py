"""Maps the file ``file``, reads one byte of each page in its first half, and keeps the mapping.

The first half, not every second page: the kernel maps the pages around a touched one along with it.
"""

import mmap

from tests.bench.support.truths import Truth


class Subject(Truth):
    def work(self):
        with open(self.options["file"], "rb") as file:
            self.kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.sum = sum(self.kept[at] for at in range(0, len(self.kept) // 2, mmap.PAGESIZE))
