"""Remembered hashes: right however fast files change."""

import os

import pytest

from loader import filehash
from loader.filehash import remembered_sha256, sha256_of


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
    monkeypatch.setattr(filehash.time, "sleep", waited.append)
    assert remembered_sha256(str(path)) == sha256_of(str(path))
    assert all(0 <= seconds <= filehash.TICK_S for seconds in waited)
