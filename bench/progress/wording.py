"""Durations in words, without more digits than anybody can know."""

from __future__ import annotations

import math

STEPS_S = ((60, 10), (180, 30), (600, 60), (3600, 300), (math.inf, 900))
"""Below so many seconds, an estimate is rounded to a multiple of so many, which changes it by a third at most:
estimates from a few samples are no better."""

FEW_S = 10.0
"""Seconds below which an estimate says no number."""


def time_left(seconds: float, *, is_limit: bool = False) -> str:
    """Return an estimate in words, such as ``about 3 min left``; "" where nothing is left.

    Args:
        seconds: the estimate.
        is_limit: whether it may well be less: then it is rounded up, and called ``at most``.
    """
    if seconds <= 0:
        return ""
    if is_limit:
        return f"at most {duration(rounded(max(seconds, FEW_S), is_limit=True))} left"
    return "a few seconds left" if seconds < FEW_S else f"about {duration(rounded(seconds))} left"


def rounded(seconds: float, *, is_limit: bool = False) -> int:
    """Return the seconds rounded to a multiple of a step that grows with them; never down if ``is_limit``."""
    step = next(step for below, step in STEPS_S if seconds < below)
    steps = seconds / step
    return step * (math.ceil(steps) if is_limit else math.floor(steps + 0.5))


def duration(seconds: float) -> str:
    """Return a duration in words, such as ``3 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    large, small = (f"{minutes} min", f"{rest} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60} min")
    return large if small.startswith("0 ") else f"{large} {small}"


def one_line(text: str) -> str:
    """Return the text in one line, with question marks for what would steer a terminal."""
    lines = " ".join(line.strip() for line in text.splitlines())
    return "".join(char if char.isprintable() else "?" for char in lines)
