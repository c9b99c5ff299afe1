"""Durations and messages, fit for one line."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration in words, such as ``3 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    large, small = (f"{minutes} min", f"{rest} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60} min")
    return large if small.startswith("0 ") else f"{large} {small}"


def one_line(text: str) -> str:
    """Return the text on one line, with question marks for characters that control a terminal."""
    lines = " ".join(line.strip() for line in text.splitlines())
    return "".join(char if char.isprintable() else "?" for char in lines)
