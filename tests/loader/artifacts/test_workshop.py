"""The lock of the store is held while a prepared model is being made, and not a moment longer."""

import filelock
import pytest

from loader import CacheError
from loader.artifacts import workshop


def is_held(cache):
    lock = filelock.FileLock(cache / "artifacts" / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def test_the_lock_is_held_inside_and_free_afterwards(own_cache):
    with workshop.Workshop() as shop:
        assert is_held(own_cache)
    assert not is_held(own_cache), f"{shop} has not released it"


def test_an_error_frees_the_lock_and_takes_what_was_being_made_along(own_cache):
    shop = workshop.Workshop()
    with pytest.raises(KeyboardInterrupt):
        interrupt(shop)
    assert not is_held(own_cache), f"{shop} has not released it"
    assert [path.name for path in (own_cache / "artifacts").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_cleaned_up_frees_the_lock(own_cache, monkeypatch):
    with workshop.Workshop() as shop:
        monkeypatch.setattr(workshop, "sweep", refuse)
    assert not is_held(own_cache), f"{shop} has not released it"


def test_an_invalid_limit_is_refused_before_the_lock_is_taken(own_cache, monkeypatch):
    monkeypatch.setenv(workshop.LIMIT_VARIABLE, "many")
    with pytest.raises(CacheError, match="is not a number of MiB"):
        workshop.Workshop()
    assert not own_cache.exists()


def interrupt(shop):
    with shop:
        shop.folder()
        raise KeyboardInterrupt


def refuse(folder):
    raise PermissionError(13, "Permission denied", folder)
