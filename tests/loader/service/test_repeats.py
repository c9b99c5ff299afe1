"""The log of a service does not grow with what others do."""

import io
import logging

import pytest

from loader.service.server import repeats
from loader.service.server.repeats import QUIET_S, NoRepeats


@pytest.fixture
def log():
    """A logger with the filter: ``log(now_s, message, *args)`` returns all lines so far."""
    now = [0.0]
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(NoRepeats(lambda: now[0]))
    logger = logging.Logger("test")
    logger.addHandler(handler)

    def say(now_s, *message):
        now[0] = now_s
        logger.warning(*message)
        return written.getvalue().splitlines()

    return say


def test_a_line_that_keeps_coming_up_is_written_once(log):
    for second in range(0, 1000, 10):
        lines = log(second, "no room for %d", 7)
    assert lines == ["no room for 7"]
    assert log(1000, "no room for %d", 8) == ["no room for 7", "no room for 8"]


def test_a_line_that_has_not_come_up_for_a_while_is_news(log):
    log(0, "again")
    log(QUIET_S, "again")
    assert log(2 * QUIET_S + 1, "again") == ["again", "again"]


def test_many_different_lines_are_not_all_remembered(log, monkeypatch):
    monkeypatch.setattr(repeats, "_MOST", 2)
    for message in ("a", "b", "a", "c", "b", "a"):  # "b" is the one that did not come up for longest, then "a"
        lines = log(0, message)
    assert lines == ["a", "b", "c", "b", "a"]
