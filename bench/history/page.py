"""A history in words and tables: one table and one picture for each trend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.report.document import Document, Picture, Prose, Section, Table, escape

if TYPE_CHECKING:
    from bench.history.order import Position, RunGroup
    from bench.history.sheets import History, Sheet
    from bench.history.trends import Change, Point, Trend

MARKS = {"up": "up", "down": "down", "none": "-", "unclear": "too few samples", "machine": "the machine changed"}
LONGEST_SUBJECT = 60


def sheet_table(sheet: Sheet) -> Table:
    """Return a row for each run: commit, figures, and what changed since the run before."""
    trend = sheet.trend
    changes = {change.point: change for change in trend.changes}
    rows = tuple(_row(trend, point, changes.get(number)) for number, point in enumerate(trend.points))
    plain = () if trend.reference is None else (f"{trend.metric.title} ({trend.metric.unit})",)
    headings = ("Commit", "Date", "Subject", "Run", "n", "Median", "95 %", *plain, "Change", "Change, 95 %", "Mark")
    return Table(sheet.title, headings, rows, 4, ("Subject", *plain, "95 %", "Run"))


def to_document(history: History) -> Document:
    """Return all of it."""
    sections = [
        Section(sheet.title, (Picture(sheet.file, f"{sheet.trend.axis}, by commit"), sheet_table(sheet)))
        for sheet in history.sheets
    ]
    lead = [escape(summary(history)), "\n".join(f"- {escape(note)}" for note in notes(history))]
    return Document("History", (Prose("\n\n".join(lead)),), tuple(sections))


def summary(history: History) -> str:
    """Return a summary in one sentence."""
    groups = history.groups
    runs = [run for group in groups for run in group.runs]
    commits = {run.revision.commit for run in runs if run.revision is not None}
    return f"{_many(len(runs), 'run')} of {_many(len(commits), 'known commit')} in {_many(len(groups), 'group')}."


def notes(history: History) -> list[str]:
    """Return what a reader must know to read the pictures correctly."""
    groups, criteria = history.groups, history.criteria
    found = [f"Group {group.name}: {_describe(group)}." for group in groups]
    if len(groups) > 1:
        found.append("Groups differ in machine, versions or settings, so they cannot be compared with each other.")
    positions = [position for group in groups for position in group.positions]
    unknown = sum(len(position.runs) for position in positions if position.revision is None)
    if unknown:
        found.append(
            f"{_many(unknown, 'run')} without a known commit: placed and labelled by the time of the first sample."
        )
    if any(position.revision is not None and not position.is_placed_by_commit for position in positions):
        found.append("A commit whose date is unknown is placed by the time of its first sample.")
    if any(position.revision is not None and position.revision.dirty for position in positions):
        found.append("A + after a commit: the code had uncommitted changes.")
    everything = [sheet.trend for sheet in history.sheets]
    ratios = dict.fromkeys(trend.reference.strategy for trend in everything if trend.reference is not None)
    if ratios:
        found.append(
            f"Times are multiples of what {', '.join(ratios)} took in the same round, so that a machine that became "
            "slower does not look like slower code. --absolute shows plain times."
        )
    if any(trend.reference is None and trend.metric.unit != "MiB" for trend in everything):
        found.append("With plain times, a machine that became slower looks like slower code.")
    share, confidence = f"{criteria.tolerance * 100:.3g} %", f"{criteria.confidence * 100:.3g} %"
    found.append(
        f"A mark: the whole {confidence} interval of the change since the previous run is beyond {share} and beyond "
        "what is too small to notice. The intervals are not corrected for multiple comparisons, so some of many marks "
        "are due to chance. This page gives no verdict; the gate does."
    )
    if any(_is_noise(sheet.trend, change) for sheet in history.sheets for change in sheet.trend.changes):
        found.append(
            "A mark between two runs of the same commit means that the machine changed, which may explain other marks."
        )
    return found


def _is_noise(trend: Trend, change: Change) -> bool:
    return change.mark in {"up", "down"} and trend.points[change.before].place == trend.points[change.point].place


def _row(trend: Trend, point: Point, change: Change | None) -> tuple[str, ...]:
    interval, position = point.interval, point.position
    shown = [_show(trend, value) for value in (interval.low, interval.high)] if interval else []
    plain = () if trend.reference is None else (trend.metric.show(point.plain_median, unit=False),)
    bounds = "-"
    if change is not None and math.isfinite(change.shift.high):
        bounds = f"{_percent(change.shift.low)} to {_percent(change.shift.high)}"
    return (
        position.name,
        _date(position),
        _shortened(position.revision.subject if position.revision else ""),
        point.run.name,
        str(len(point.values)),
        _show(trend, point.median) if point.median is not None else _problem(trend, point),
        " to ".join(shown) or "-",
        *plain,
        _percent(change.shift.ratio) if change else "-",
        bounds,
        MARKS[change.mark] if change else "-",
    )


def _show(trend: Trend, value: float) -> str:
    return trend.metric.show(value, unit=False) if trend.reference is None else f"{value:.3f}"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1.0) * 100:+.1f} %".replace("-0.0 %", "0.0 %").replace("+0.0 %", "0.0 %")


def _problem(trend: Trend, point: Point) -> str:
    counts = point.run.problems.get(trend.cell, {})
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "-"


def _date(position: Position) -> str:
    if position.time is None:
        return "-"
    time = f"{position.time:%Y-%m-%d %H:%M}"
    return time if position.is_placed_by_commit else f"measured {time}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SUBJECT else f"{text[: LONGEST_SUBJECT - 1]}\u2026"


def _describe(group: RunGroup) -> str:
    differing = [f"{name} {value}" for name, value in group.differing.items()]
    return "; ".join([f"{_many(len(group.runs), 'run')}, {group.machine}", *differing])


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
