"""Real files on a real disk, and processes that read or map them."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bench.measure.cache.eviction import evict

MIB = 2**20

_MAP = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for start in range(0, len(view), mmap.PAGESIZE):
    view[start]
print("mapped", flush=True)
sys.stdin.read()
"""

_READ = """
import sys
def read_bytes():
    with open("/proc/self/io") as file:
        return int(file.read().partition("read_bytes: ")[2].split()[0])
before = read_bytes()
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        file.read()
print(read_bytes() - before)
"""


def write(path, size):
    """Write a file of random bytes, which stays in memory, and return its path."""
    path.write_bytes(os.urandom(size))
    return path


def skip_unless_evictable(folder):
    """Skip the test where files of this folder cannot be evicted."""
    done = evict([write(folder / "probe", 64 * 1024)])
    (folder / "probe").unlink()
    if not done.is_verified:
        pytest.skip(done.unsupported or "files stay in memory here (a tmpfs, or a file system with its own cache)")


def disk_reads_bytes(*paths):
    """Return how many bytes a fresh process gets from the disk while it reads the files."""
    words = [sys.executable, "-c", _READ, *map(str, paths)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)


@contextmanager
def mapped_elsewhere(path):
    """Let another process map the file and touch every page."""
    words = [sys.executable, "-c", _MAP, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"mapped\n"
            yield
        finally:
            child.kill()
