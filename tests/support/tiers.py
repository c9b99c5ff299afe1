"""The tiers of the tests: marks that follow from a test's fixtures, and a guard that keeps the marks true.

``make check`` runs the tests without any of the marks ``process``, ``real_model``, ``drawing``, ``slow`` and ``gpu``;
``make test`` runs all but the ``slow`` ones. A missing mark would slow ``make check`` down without anybody noticing, so
a test without one fails if it starts a process, listens on a socket or imports PyTorch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Container, Iterable

import pytest

MARKS_OF_FIXTURES = {
    "python": "process",
    "artifacts": "process",
    "tiny_folder": "process",
    "provider": "real_model",
}
"""By fixture, the mark of each test that uses it, directly or through another fixture."""

OUT_OF_CHECK = ("process", "real_model", "drawing", "slow", "gpu")
"""Tests with one of these marks are not part of ``make check``."""

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind"}
"""Audit events of what only a test with a mark may do."""


def representative(chosen: Container[object], values: Iterable[object]) -> list[object]:
    """Return parameters for all ``values``, of which those that are not ``chosen`` are slow.

    A tuple is the values of several arguments.
    """
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=() if value in chosen else pytest.mark.slow
        )
        for value in values
    ]


class Guard:
    """Notes what the current test starts. It sees the test's own threads, not those that an earlier test has left."""

    def __init__(self) -> None:
        self._others: set[int] | None = None
        self.started: list[str] = []
        self._had_torch = True

    def begin(self) -> None:
        """Note what is started from now on."""
        self.started = []
        self._had_torch = "torch" in sys.modules
        self._others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def end(self) -> list[str]:
        """Return what was started since ``begin``, once."""
        if self._others is None:
            return []
        self._others = None
        return [*self.started, *(["import of torch"] if "torch" in sys.modules and not self._had_torch else [])]

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Be the process's audit hook."""
        others = self._others
        if event in STARTS and others is not None and threading.get_ident() not in others:
            self.started.append(f"{event} {arguments!r:.200}")


GUARD = Guard()
sys.addaudithook(GUARD.hear)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests the marks of their fixtures."""
    for item in items:
        for mark in {
            MARKS_OF_FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in MARKS_OF_FIXTURES
        }:
            item.add_marker(mark)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item):
    if not any(item.get_closest_marker(name) for name in OUT_OF_CHECK):
        GUARD.begin()
    try:
        return (yield)
    except BaseException:
        GUARD.end()
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    try:
        result = yield
    finally:
        started = GUARD.end()
    if started:
        pytest.fail(f"this test belongs to a slower tier; mark it 'process' (tests/support/tiers.py): {started}", False)
    return result
