"""What the profiling passes of a run recorded, see ``bench.profiles``; one sample a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.plan import Cell
    from bench.records import Record
    from bench.report.context import Context

MIN_SHARE = 0.01
"""A package that takes no such share of any cell's import time is one of the others."""

OTHERS = "others"


def profiled(context: Context, instrument: str) -> dict[Cell, Record]:
    """Return the ``ok`` record that each cell has of an instrument, in the order of the plan."""
    found = {r.cell: r for r in context.records if r.instrument == instrument and r.status == "ok"}
    return {cell: found[cell] for cell in sorted(found, key=list(context.summaries).index)}


def import_times_ms(context: Context) -> dict[Cell, dict[str, float]]:
    """Return for each cell of the pass the milliseconds that each package's modules took themselves."""
    return {
        cell: {str(cost["package"]): cost["self_us"] / 1000 for cost in record.facts["imports"]}
        for cell, record in profiled(context, "importtime").items()
        if record.facts.get("imports")
    }


def largest_shares(times_ms: dict[Cell, dict[str, float]]) -> dict[str, float]:
    """Return the largest share that each package has of any cell's import time, largest first."""
    shares: dict[str, float] = {}
    for times in times_ms.values():
        total = sum(times.values())
        for package, time_ms in times.items():
            shares[package] = max(shares.get(package, 0.0), time_ms / total if total > 0 else 0.0)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def fold(times_ms: dict[str, float], kept: list[str]) -> dict[str, float]:
    """Return the times of the packages to keep, those of all the rest summed as ``OTHERS``."""
    rest = sum(time_ms for package, time_ms in times_ms.items() if package not in kept)
    return {package: times_ms.get(package, 0.0) for package in kept} | {OTHERS: rest}
