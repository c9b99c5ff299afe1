"""Installed model packages: pinned weights, hashed once per file identity."""

import os
import shutil

import pytest

from loader import ModelCorruptError
from loader.model import packages as packages_module
from loader.model.packages import MODEL_PACKAGES, ModelPackage, installed_folder, sha256_of, verify_package


@pytest.fixture
def package(tmp_path):
    """A package whose weights are right, and their path."""
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    return ModelPackage("org/model", "org-model", "org_model", "model", sha256_of(str(weights))), str(weights)


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    seen = []

    def spy(path):
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(packages_module, "sha256_of", spy)
    return seen


def test_the_real_package_has_the_pinned_weights(own_cache):
    for known in MODEL_PACKAGES:
        folder = installed_folder(known)
        assert folder is not None, f"{known.distribution} belongs to the test environment (extra 'models')"
        verify_package(known, os.path.join(folder, "model.safetensors"))


def test_weights_are_hashed_once(own_cache, package, hashed):
    for _ in range(3):
        verify_package(*package)
    assert len(hashed) == 1
    verify_package(*package, remembered=False)
    assert len(hashed) == 2


def test_a_changed_file_is_hashed_again_and_refused(own_cache, package, hashed):
    verify_package(*package)
    with open(package[1], "wb") as file:
        file.write(b"weightZ")
    with pytest.raises(ModelCorruptError, match="force-reinstall"):
        verify_package(*package)
    with pytest.raises(ModelCorruptError):
        verify_package(*package)


def test_a_replaced_file_with_the_same_times_is_hashed_again(own_cache, package, hashed, tmp_path):
    verify_package(*package)
    stat = os.stat(package[1])
    other = tmp_path / "other"
    other.write_bytes(b"weightZ")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    shutil.move(other, package[1])
    with pytest.raises(ModelCorruptError):
        verify_package(*package)


@pytest.mark.parametrize("memo", [b"", b"nonsense", b"\xff" * 5000])
def test_a_damaged_memo_means_hashing_again(own_cache, package, hashed, memo):
    verify_package(*package)
    (path,) = (own_cache / "hashes").iterdir()
    path.write_bytes(memo)
    verify_package(*package)
    assert len(hashed) == 2


def test_without_a_writable_cache_it_is_hashed_every_time(own_cache, package, hashed):
    own_cache.write_text("a file where the folder should be")
    verify_package(*package)
    verify_package(*package)
    assert len(hashed) == 2


def test_a_package_that_is_not_installed():
    assert installed_folder(ModelPackage("o/m", "no-such", "no_such_package_anywhere", "model", "0")) is None
