"""Tests of the compiled kernel, against the same encoder in NumPy."""

import pytest

WITHOUT_KERNEL = {"test_build.py", "test_install.py", "test_wheels.py"}
"""Tests of how there comes to be one."""


def pytest_collection_modifyitems(items):
    """Skip what needs the kernel where it was not built."""
    try:
        import loader._native  # noqa: F401
    except ImportError:
        for item in items:
            if "/loader/native/" in item.path.as_posix() and item.path.name not in WITHOUT_KERNEL:
                item.add_marker(pytest.mark.skip(reason="the kernel is not built: make native"))
