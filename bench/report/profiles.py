"""What the profiling passes of a run recorded, see ``bench.profiles``; one sample a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.plan import Cell
    from bench.records import Record
    from bench.report.context import Context

MIN_SHARE = 0.01
"""A package that takes no such share of any cell's import time is one of the others."""

OTHERS = "others"


def profiled(context: Context, instrument: str) -> dict[Cell, Record]:
    """Return the ``ok`` record that each cell has of an instrument; the last, where it was measured again."""
    return {r.cell: r for r in context.records if r.instrument == instrument and r.status == "ok"}


def import_times_ms(context: Context) -> dict[Cell, dict[str, float]]:
    """Return for each cell of the pass the milliseconds that each package's modules took themselves."""
    return {
        cell: {str(cost["package"]): cost["self_us"] / 1000 for cost in record.facts["imports"]}
        for cell, record in profiled(context, "importtime").items()
        if record.facts.get("imports")
    }


def leading_packages(times_ms: Mapping[Cell, Mapping[str, float]], at_most: int | None = None) -> list[str]:
    """Return the packages to show on their own, the slowest in any cell first.

    Args:
        times_ms: of the packages of each cell.
        at_most: how many, those with the largest share of any cell's import time; default: all from ``MIN_SHARE`` on.
    """
    shares: dict[str, float] = {}
    for times in times_ms.values():
        total = sum(times.values())
        for package, time_ms in times.items():
            shares[package] = max(shares.get(package, 0.0), time_ms / total if total > 0 else 0.0)
    leading = sorted((package for package in shares if shares[package] >= MIN_SHARE), key=lambda p: (-shares[p], p))
    slowest = {p: max(times.get(p, 0.0) for times in times_ms.values()) for p in leading[:at_most]}
    return sorted(slowest, key=lambda package: (-slowest[package], package))


def fold(times_ms: Mapping[str, float], kept: Sequence[str]) -> dict[str, float]:
    """Return the times of the packages to keep, those of all the rest summed as ``OTHERS``."""
    rest = sum(time_ms for package, time_ms in times_ms.items() if package not in kept)
    return {package: times_ms.get(package, 0.0) for package in kept} | {OTHERS: rest}
