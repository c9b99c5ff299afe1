"""Eviction, checked by what another process then reads of the disk."""

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.measure.cache.eviction import MAX_RESIDENT_SHARE, Eviction, evict, resident_bytes
from tests.bench.support.disk import MIB, disk_reads_bytes, mapped_elsewhere, skip_unless_evictable, write

pytestmark = pytest.mark.process

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files can be evicted on Linux only")


@pytest.fixture
def disk(tmp_path):
    """A folder whose files can be evicted."""
    skip_unless_evictable(tmp_path)
    return tmp_path


class TestVerdict:
    def test_nothing_evicted_is_nothing_verified(self):
        assert not Eviction().is_verified
        assert not evict([]).is_verified

    def test_unsupported_is_never_verified(self):
        assert not Eviction(files=1, unsupported="why").is_verified

    @given(st.integers(0, 2**50), st.integers(0, 2**50))
    def test_a_hundredth_may_stay(self, total, after):
        after = min(after, total)
        assert Eviction(1, 0, total, total, after).is_verified == (after <= MAX_RESIDENT_SHARE * total)


@linux_only
class TestResidentBytes:
    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * MIB + 17])
    def test_a_file_just_written_is_in_memory_to_the_byte(self, tmp_path, size):
        assert resident_bytes(write(tmp_path / "file", size)) == size

    def test_a_part_in_memory_is_counted_as_a_part(self, disk):
        path = write(disk / "file", 4 * MIB)
        assert evict([path]).bytes_resident_after == 0
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # nothing is read ahead
            file.seek(MIB)
            file.read(1)
        assert 1 <= resident_bytes(path) <= 2 * MIB

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            resident_bytes(tmp_path / "none")

    def test_a_folder(self, tmp_path):
        with pytest.raises(BenchError, match="is a folder"):
            resident_bytes(tmp_path)


@linux_only
class TestEvict:
    def test_another_process_then_reads_the_disk(self, disk):
        path = write(disk / "weights", 20 * MIB)
        assert disk_reads_bytes(path) < 1 * MIB, "it is in memory first"
        done = evict([path])
        assert done.is_verified
        assert (done.files, done.bytes_total) == (1, 20 * MIB)
        assert 19 * MIB <= done.bytes_resident_before <= 20 * MIB
        assert 19 * MIB < disk_reads_bytes(path) < 22 * MIB
        # Not to the byte: the kernel may drop clean pages at any time.
        assert 19 * MIB <= resident_bytes(path) <= 20 * MIB, "what was read is in memory again"

    def test_a_file_that_another_process_maps_stays(self, disk):
        path = write(disk / "weights", 20 * MIB)
        with mapped_elsewhere(path):
            done = evict([path])
            assert not done.is_verified
            assert done.unsupported == ""
            assert done.bytes_resident_after > 19 * MIB
        assert evict([path]).is_verified, "once that process is gone"

    def test_one_warm_file_among_cold_ones_is_found(self, disk):
        cold, warm = write(disk / "cold", 8 * MIB), write(disk / "warm", 4 * MIB)
        with mapped_elsewhere(warm):
            done = evict([cold, warm])
        assert (done.files, done.bytes_total) == (2, 12 * MIB)
        assert 3 * MIB < done.bytes_resident_after <= 4 * MIB
        assert not done.is_verified

    def test_a_tmpfs_is_memory(self):
        path = Path("/dev/shm") / f"bench-residency-{os.getpid()}"
        try:
            write(path, MIB)
        except OSError as error:
            pytest.skip(f"no tmpfs to write to: {error}")
        try:
            done = evict([path])
        finally:
            path.unlink()
        assert (done.is_verified, done.unsupported) == (False, "")
        assert done.bytes_resident_after == MIB

    def test_links_are_followed_and_each_file_is_taken_once(self, disk):
        path = write(disk / "blob", MIB)
        (disk / "link").symlink_to(path)
        done = evict([path, disk / "link", path])
        assert (done.files, done.bytes_total) == (1, MIB)
        assert done.is_verified
        assert resident_bytes(path) == 0

    def test_empty_and_missing_files(self, disk):
        empty, dangling = write(disk / "empty", 0), disk / "dangling"
        dangling.symlink_to(disk / "gone")
        done = evict([empty, disk / "none", dangling, empty / "below"])
        assert (done.files, done.missing, done.bytes_total, done.is_verified) == (1, 3, 0, True)

    def test_only_missing_files_are_not_verified(self, disk):
        assert not evict([disk / "none"]).is_verified

    def test_what_is_no_file_is_named(self, disk):
        path = write(disk / "file", MIB)
        (disk / "loop").symlink_to(disk / "loop")
        os.mkfifo(disk / "fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(disk / "socket"))
            for name, word in (
                (".", "is a folder"),
                ("fifo", "not a regular file"),
                ("socket", "not a regular file"),
                ("loop", "cannot be reached"),
                ("a\0b", "cannot be reached"),
                ("x" * 300, "cannot be reached"),
            ):
                done = evict([path, disk / name])
                assert word in done.unsupported, name
                assert not done.is_verified
        assert resident_bytes(path) > 0, "nothing was evicted"

    def test_several_refusals_are_counted(self, tmp_path):
        (tmp_path / "other").mkdir()
        assert "1 other" in evict([tmp_path, tmp_path / "other"]).unsupported


@linux_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
class TestAnotherUser:
    """In a child process that gives up being root: mincore would lie about the files of root."""

    code = """
import os, sys
from pathlib import Path
import bench.measure.cache.eviction
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(bench.measure.cache.eviction.evict([Path(sys.argv[1])]).unsupported)
"""

    @pytest.fixture
    def ask(self, python):
        folder = Path("/tmp") / f"bench-residency-{os.getpid()}"  # pytest's own folders are closed to others
        folder.mkdir()
        root = str(Path(__file__).resolve().parents[3])

        def run(mode):
            path = write(folder / "file", MIB)
            path.chmod(mode)
            done = python(self.code, str(path), env={"PYTHONPATH": root})
            assert done.code == 0, done.err
            return done.out.strip()

        yield run
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    def test_a_file_of_another_user(self, ask):
        assert "belongs to another user" in ask(0o644)

    def test_a_file_of_another_user_that_may_be_written(self, ask):
        assert ask(0o666) == ""

    def test_a_file_that_may_not_be_read(self, ask):
        assert "cannot be read" in ask(0o600)


def test_elsewhere_it_is_unsupported(monkeypatch, tmp_path):
    path = write(tmp_path / "file", 10)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in evict([path]).unsupported
    with pytest.raises(BenchError, match="Linux"):
        resident_bytes(path)
