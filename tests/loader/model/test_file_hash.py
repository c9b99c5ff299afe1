"""Remembered hashes: right however fast files change."""

import os

import pytest

from loader.model import file_hash
from loader.model.file_hash import remembered_sha256, sha256_of


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_file_that_changes_at_once_is_hashed_again(own_cache, tmp_path, how):
    """Of the same size, and within one tick of the clock by which files are stamped."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8))
    for number in range(1, 40):
        if how == "in place":
            with open(path, "r+b") as file:
                file.write(number.to_bytes(8, "little"))
        else:
            (tmp_path / "new").write_bytes(number.to_bytes(8, "little"))
            os.replace(tmp_path / "new", path)
        assert remembered_sha256(str(path)) == sha256_of(str(path))


def test_it_is_remembered_all_the_same(own_cache, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    hashed = []

    def compute(path):
        hashed.append(path)
        return sha256_of(path)

    for _ in range(3):
        remembered_sha256(str(tmp_path / "file"), compute=compute)
    assert len(hashed) == 1


@pytest.mark.parametrize("ahead", [-(10**9), 10**6])
def test_time_stamps_from_another_clock(own_cache, tmp_path, ahead, monkeypatch):
    """A file from the future, as servers with a clock of their own make them, is not waited for."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    moment = path.stat().st_mtime + ahead
    os.utime(path, (moment, moment))
    waited = []
    monkeypatch.setattr(file_hash.time, "sleep", waited.append)
    assert remembered_sha256(str(path)) == sha256_of(str(path))
    assert all(0 <= seconds <= file_hash.TICK_S for seconds in waited)


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be truncated")
def test_a_file_that_is_truncated_while_it_is_hashed_is_an_error_and_kills_nobody(python, tmp_path):
    done = python(
        """
import os, sys, threading
from loader.model.file_hash import sha256_of
with open(sys.argv[1], "wb") as file:
    file.truncate(4 * 2**30)  # takes no room, but seconds to hash
threading.Timer(0.1, os.truncate, (sys.argv[1], 100)).start()
try:
    print(sha256_of(sys.argv[1]))
except OSError as error:
    print(error)
""",
        str(tmp_path / "file"),
    )
    assert (done.code, done.out) == (0, f"{tmp_path / 'file'} became shorter while it was read\n"), done
